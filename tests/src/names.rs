//! A system whose names lead where a test says: the resolver of the C library is replaced in the program under test, so
//! that everything above it is the real thing.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of tests fails the test"
)]

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

use crate::host::{TestHost, target};

/// What the replaced function does: `NAMES` is `name=answers name=answers`, `answers` is one answer after the other,
/// separated by `/`, of which the last stays; an answer is one or more addresses, separated by `+`. Names below
/// `never.test` are never answered.
const RESOLVER: &str = r#"
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct { char name[256]; int asked; } seen[64];

static int asked_before(const char *name) {
    int found = 0;
    pthread_mutex_lock(&lock);
    for (int at = 0; at < 64; at++) {
        if (seen[at].name[0] == 0) strncpy(seen[at].name, name, 255);
        if (strcmp(seen[at].name, name) == 0) { found = seen[at].asked++; break; }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static struct addrinfo *entry(const char *text, struct addrinfo *next) {
    struct addrinfo *own = calloc(1, sizeof *own + sizeof(struct sockaddr_in6));
    struct sockaddr_in *four = (struct sockaddr_in *)(own + 1);
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)(own + 1);
    own->ai_addr = (struct sockaddr *)(own + 1);
    own->ai_socktype = SOCK_STREAM;
    own->ai_protocol = IPPROTO_TCP;
    own->ai_next = next;
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        own->ai_family = four->sin_family = AF_INET;
        own->ai_addrlen = sizeof *four;
    } else {
        memset(six, 0, sizeof *six);
        if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1) abort();
        own->ai_family = six->sin6_family = AF_INET6;
        own->ai_addrlen = sizeof *six;
    }
    return own;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    char *names = strdup(getenv("CROSSDOCK_TEST_NAMES") ?: "");
    char *outer, *inner, *innermost, *answer = 0;
    if (node && strstr(node, ".never.test")) for (;;) pause();
    for (char *name = strtok_r(names, " ", &outer); node && name; name = strtok_r(0, " ", &outer)) {
        char *answers = strchr(name, '=');
        *answers++ = 0;
        if (strcmp(name, node) != 0) continue;
        int skip = asked_before(node);
        for (char *one = strtok_r(answers, "/", &inner); one; one = strtok_r(0, "/", &inner)) {
            answer = one;
            if (skip-- == 0) break;
        }
        break;
    }
    if (!answer) {
        free(names);
        int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(node, service, hints, found);
    }
    *found = 0;
    for (char *one = strtok_r(answer, "+", &innermost); one; one = strtok_r(0, "+", &innermost)) *found = entry(one, *found);
    free(names);
    return 0;
}
"#;

/// The library, built with the compiler that links Rust's programs as well; once for all test processes.
fn library() -> PathBuf {
    let folder = target().join("it");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let lock = File::create(folder.join("names.lock")).expect("the target folder can be written");
    lock.lock().expect("files can be locked");
    let (source, library) = (folder.join("names.c"), folder.join("names.so"));
    let built = fs::read_to_string(&source).is_ok_and(|built| built == RESOLVER);
    if built && library.is_file() {
        return library;
    }
    drop(fs::remove_file(&library));
    fs::write(&source, RESOLVER).expect("the target folder can be written");
    let done = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "`cc` does not build {}",
        source.display()
    );
    library
}

/// A host for which names lead to the given answers, as `a=127.0.0.1/::1+10.0.0.1`: the first time to the first, then to
/// both of the second.
pub fn lead(host: TestHost, names: &str) -> TestHost {
    host.with("LD_PRELOAD", library().display().to_string())
        .with("CROSSDOCK_TEST_NAMES", names)
}
