//! Credentials for registries, from where `docker login` and its kin put them: `config.json` and credential helpers.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::timeout;

/// A configuration larger than this is none.
const MAX_CONFIG: u64 = 1 << 20;
/// A helper asks a key chain, perhaps a person.
const HELPER_TIME: Duration = Duration::from_secs(30);
/// What a helper answers is a line or two.
const MAX_ANSWER: u64 = 64 << 10;
/// The name that a helper gives with an identity token instead of a password.
const TOKEN_NAME: &str = "<token>";

/// How somebody shows who they are.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    /// A name and a password.
    Password { name: String, secret: SecretString },
    /// A token that is exchanged for others.
    Identity { token: SecretString },
}

impl Credential {
    /// Who it is, for messages.
    pub(super) fn who(&self) -> &str {
        match self {
            Self::Password { name, .. } => name,
            Self::Identity { .. } => "the holder of the identity token",
        }
    }

    fn password(name: &str, secret: &str) -> Self {
        if name == TOKEN_NAME {
            return Self::Identity {
                token: secret.into(),
            };
        }
        Self::Password {
            name: name.to_owned(),
            secret: secret.into(),
        }
    }

    /// What goes behind `Basic `.
    pub(super) fn basic(&self) -> Option<SecretString> {
        match self {
            Self::Password { name, secret } => {
                let pair = format!("{name}:{}", secret.expose_secret());
                Some(STANDARD.encode(pair).into())
            }
            Self::Identity { .. } => None,
        }
    }
}

/// The file that `docker login` writes, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    /// `name:password` in base64.
    #[serde(rename = "auth")]
    pair: String,
    username: String,
    password: String,
    identitytoken: String,
}

#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    name: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Where the configuration is: `DOCKER_CONFIG` names its folder, `REGISTRY_AUTH_FILE` the file itself.
fn config_file() -> Option<PathBuf> {
    let named = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    named("REGISTRY_AUTH_FILE")
        .or_else(|| named("DOCKER_CONFIG").map(|folder| folder.join("config.json")))
        .or_else(|| named("HOME").map(|home| home.join(".docker/config.json")))
}

/// The credential for a registry, if there is one. The most particular place wins: the host's own helper, the host's own
/// entry, the helper for all. `named` is a file of that kind in another place than the usual one; it must be there.
pub(super) async fn find(host: &str, named: Option<&Path>) -> Result<Option<Credential>, String> {
    let Some(file) = named.map(Path::to_path_buf).or_else(config_file) else {
        return Ok(None);
    };
    let path = file.clone();
    let read = tokio::task::spawn_blocking(move || read(&path)).await;
    let Some(config) = read.map_err(|error| error.to_string())?? else {
        return match named {
            Some(file) => Err(format!("there is no file {}", file.display())),
            None => Ok(None),
        };
    };
    if let Some(helper) = of_host(&config.cred_helpers, host) {
        return ask(helper, host).await;
    }
    if let Some(auth) = of_host(&config.auths, host)
        && let Some(found) = stored(auth).map_err(|why| format!("{}: {why}", file.display()))?
    {
        return Ok(Some(found));
    }
    if config.creds_store.is_empty() {
        return Ok(None);
    }
    ask(&config.creds_store, host).await
}

fn read(file: &Path) -> Result<Option<Config>, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut text = Vec::new();
    let opened = match fs::File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(told(&error)),
    };
    let read = opened.take(MAX_CONFIG).read_to_end(&mut text);
    read.map_err(|error| told(&error))?;
    let config = serde_json::from_slice(&text);
    config.map(Some).map_err(|error| told(&error))
}

/// Keys are hosts, or URLs of hosts.
fn of_host<'a, T>(entries: &'a BTreeMap<String, T>, host: &str) -> Option<&'a T> {
    let bare = |key: &str| {
        let key = key.split_once("://").map_or(key, |(_, rest)| rest);
        key.split('/').next().unwrap_or_default().to_owned()
    };
    entries.get(host).or_else(|| {
        entries
            .iter()
            .find(|(key, _)| bare(key) == host)
            .map(|(_, value)| value)
    })
}

fn stored(auth: &Auth) -> Result<Option<Credential>, String> {
    if !auth.identitytoken.is_empty() {
        return Ok(Some(Credential::Identity {
            token: auth.identitytoken.as_str().into(),
        }));
    }
    if !auth.username.is_empty() {
        return Ok(Some(Credential::password(&auth.username, &auth.password)));
    }
    if auth.pair.is_empty() {
        return Ok(None);
    }
    let wrong = || "an `auth` is no base64 of `name:password`".to_owned();
    let pair = STANDARD.decode(&auth.pair).map_err(|_| wrong())?;
    let pair = String::from_utf8(pair).map_err(|_| wrong())?;
    let (name, secret) = pair.split_once(':').ok_or_else(wrong)?;
    Ok(Some(Credential::password(
        name,
        secret.trim_end_matches('\0'),
    )))
}

/// Asks a credential helper, a program that other tools install. One that has nothing for the host says so.
async fn ask(helper: &str, host: &str) -> Result<Option<Credential>, String> {
    let usable = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if helper.is_empty() || !helper.bytes().all(usable) {
        return Err(format!("`{helper}` is no name of a credential helper"));
    }
    let program = format!("docker-credential-{helper}");
    let told = |why: String| format!("{program}: {why}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| told(error.to_string()))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let child = Arc::new(Mutex::new(child));
    let host = host.to_owned();
    let own = Arc::clone(&child);
    let talk = tokio::task::spawn_blocking(move || {
        // One that does not listen may answer all the same.
        if let Some(mut stdin) = stdin {
            drop(stdin.write_all(host.as_bytes()));
        }
        let mut answer = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(MAX_ANSWER).read_to_end(&mut answer)?;
        }
        let status = lock(&own).wait()?;
        Ok::<_, std::io::Error>((status, answer))
    });
    let Ok(talked) = timeout(HELPER_TIME, talk).await else {
        // It is gone or will be; the thread that reads from it ends with it.
        drop(lock(&child).kill());
        return Err(told(format!(
            "no answer within {} s",
            HELPER_TIME.as_secs()
        )));
    };
    let talked = talked.map_err(|error| told(error.to_string()))?;
    let (status, answer) = talked.map_err(|error| told(error.to_string()))?;
    if !status.success() {
        // By agreement it says so in this way that it has none.
        let text = String::from_utf8_lossy(&answer);
        if text.contains("credentials not found") {
            return Ok(None);
        }
        return Err(told(format!("it ended with {status}")));
    }
    let answer: HelperAnswer = serde_json::from_slice(&answer)
        .map_err(|_| told("its answer is not what helpers answer".to_owned()))?;
    Ok(Some(Credential::password(&answer.name, &answer.secret)))
}

fn lock(child: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_host_and_read_in_every_form() {
        let config: Config = serde_json::from_value(serde_json::json!({
            "auths": {
                "https://one.example/v1/": { "auth": STANDARD.encode("ann:pa:ss") },
                "two.example:5000": { "identitytoken": "t" },
                "three.example": { "username": "bob", "password": "x" },
                "four.example": {},
                "five.example": { "auth": "?" },
            },
            "credHelpers": { "six.example": "pass" },
            "HttpHeaders": {},
        }))
        .unwrap();
        let of = |host: &str| stored(of_host(&config.auths, host).unwrap());
        let one = of("one.example").unwrap().unwrap();
        assert_eq!(one.who(), "ann");
        let basic = one.basic().unwrap();
        assert_eq!(basic.expose_secret(), STANDARD.encode("ann:pa:ss"));
        let two = of("two.example:5000").unwrap();
        assert!(matches!(two, Some(Credential::Identity { .. })));
        assert_eq!(of("three.example").unwrap().unwrap().who(), "bob");
        assert!(of("four.example").unwrap().is_none());
        assert!(of("five.example").is_err());
        assert!(of_host(&config.auths, "one").is_none());
        assert_eq!(
            of_host(&config.cred_helpers, "six.example").unwrap(),
            "pass"
        );
        let shown = format!("{one:?}");
        assert!(!shown.contains("pa:ss"), "{shown}");
    }
}
