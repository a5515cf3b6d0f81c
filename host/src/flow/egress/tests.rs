//! What is covered, and above all what is not.

use super::*;

fn covers(grant: &str, method: &str, url: &str) -> bool {
    let grant: UrlGrant = grant.parse().unwrap();
    Url::parse(url).is_ok_and(|url| grant.covers(method, &url))
}

#[test]
fn addresses_are_what_they_are() {
    use Reach::{Never, Private, Public};
    for (text, expected) in [
        ("93.184.216.34", Public),
        ("172.15.255.255", Public),
        ("172.32.0.1", Public),
        ("100.63.0.1", Public),
        ("192.0.1.1", Public),
        ("10.1.2.3", Private),
        ("127.0.0.1", Private),
        ("127.255.0.3", Private),
        ("172.16.0.1", Private),
        ("172.31.255.255", Private),
        ("192.168.1.1", Private),
        ("100.64.0.1", Private),
        ("0.0.0.0", Never),
        ("0.1.2.3", Never),
        ("169.254.169.254", Never),
        ("192.0.0.8", Never),
        ("198.18.0.1", Never),
        ("224.0.0.1", Never),
        ("255.255.255.255", Never),
        ("240.0.0.1", Never),
        ("2606:2800:220:1::1", Public),
        ("::1", Private),
        ("fc00::1", Private),
        ("fd12:3456::1", Private),
        ("::", Never),
        ("fe80::1", Never),
        ("fec0::1", Never),
        ("ff02::1", Never),
        ("2001:db8::1", Never),
        ("2001::1", Never),
        ("100::1", Never),
        ("::ffff:10.0.0.1", Private),
        ("::ffff:169.254.169.254", Never),
        ("::ffff:8.8.8.8", Public),
        ("64:ff9b::7f00:1", Private),
        ("64:ff9b::808:808", Public),
        ("64:ff9b:1::1", Never),
        ("2002:a9fe:a9fe::", Never),
        ("2002:a00:1::", Private),
        ("::127.0.0.1", Never),
        // Where clouds tell machines their secrets, outside of the link-local range.
        ("100.100.100.200", Never),
        ("168.63.129.16", Never),
        ("fd00:ec2::254", Never),
        ("fd20:ce::254", Never),
        ("fd00:42::42", Never),
        ("::ffff:168.63.129.16", Never),
        ("64:ff9b::6464:64c8", Never),
        ("100.100.100.201", Private),
        ("168.63.129.17", Public),
        ("100.96.0.96", Never),
        ("100.96.0.97", Private),
        ("100.80.80.80", Never),
        ("::ffff:100.96.0.96", Never),
        ("fd00:ec2::1", Never),
        ("fd00:ec2::23", Never),
        ("fd00:ec2:ffff::254", Never),
        ("fd00:c1::a9fe:a9fe", Never),
        ("fd00:a9fe:a9fe::1", Never),
        ("fd00:100::100:200", Never),
        ("fd00:ec1::23", Private),
        ("fd00:42::1", Private),
        ("fe80::a9fe:a9fe", Never),
    ] {
        assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
    }
}

#[test]
fn a_url_is_covered_by_method_scheme_host_port_and_path() {
    let grant = "https://api.example.com/v1";
    for url in [
        "https://api.example.com/v1",
        "https://API.example.com:443/v1/items?x=1",
        "https://api.example.com./v1/",
    ] {
        assert!(covers(grant, "POST", url), "{url}");
    }
    for url in [
        "http://api.example.com/v1",
        "https://api.example.com:8443/v1",
        "https://api.example.com.evil.org/v1",
        "https://xapi.example.com/v1",
        "https://api.example.com@evil.org/v1",
        "https://user:secret@api.example.com/v1",
        "https://api.example.com/v10",
        "https://api.example.com/v1/../admin",
        "https://api.example.com/v1/%2e%2e/admin",
        "https://api.example.com/v1/..%2fadmin",
        "https://api.example.com/v1/%252e%252e/admin",
        "https://api.example.com/v1/..;/admin",
    ] {
        assert!(!covers(grant, "GET", url), "{url}");
    }
    let some = "get,head https://a.example.org:8443/";
    assert!(covers(some, "GET", "https://a.example.org:8443/x"));
    assert!(covers(some, "HEAD", "https://a.example.org:8443"));
    assert!(!covers(some, "DELETE", "https://a.example.org:8443/x"));
    assert!(!covers(some, "GET", "https://a.example.org/x"));
}

#[test]
fn a_star_stands_for_the_beginning_of_a_name_only() {
    let grant = "https://*.example.com/";
    assert!(covers(grant, "GET", "https://a.example.com/"));
    assert!(covers(grant, "GET", "https://a.b.EXAMPLE.com/x"));
    for url in [
        "https://example.com/",
        "https://evilexample.com/",
        "https://a.example.com.evil.org/",
        "https://127.0.0.1/",
    ] {
        assert!(!covers(grant, "GET", url), "{url}");
    }
    for wrong in [
        "https://*/",
        "https://*.com/",
        "https://a.*.com/",
        "https://x*.example.com/",
        "*.example.com:*",
    ] {
        assert!(wrong.parse::<UrlGrant>().is_err(), "{wrong}");
    }
    assert!("*.com:443".parse::<TcpGrant>().is_err());
}

#[test]
fn an_address_is_granted_as_written_and_in_no_disguise() {
    let private = "http://127.0.0.1:8080/";
    for same in [
        "http://127.0.0.1:8080/",
        "http://2130706433:8080/",
        "http://0x7f.1:8080/",
        "http://0177.0.0.1:8080/",
    ] {
        assert!(covers(private, "GET", same), "{same}: the same address");
    }
    for other in [
        "http://127.0.0.2:8080/",
        "http://[::1]:8080/",
        "http://localhost:8080/",
        "http://127.0.0.1:8081/",
    ] {
        assert!(!covers(private, "GET", other), "{other}");
    }
    // No grant of a name covers an address, however it is written.
    for disguise in [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::1]/",
        "http://0.0.0.0/",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost/",
    ] {
        assert!(
            !covers("http://api.example.com/", "GET", disguise),
            "{disguise}"
        );
        assert!(
            !covers("http://*.example.com/", "GET", disguise),
            "{disguise}"
        );
    }
}

#[test]
fn what_is_no_grant_is_refused() {
    for wrong in [
        "",
        "api.example.com",
        "ftp://a.example.com/",
        "https://u:p@a.example.com/",
        "https://a.example.com/?x=1",
        "https://a.example.com/#x",
        "https://a.example.com/..%2fx",
        "G=T https://a.example.com/",
        "file:///etc/passwd",
    ] {
        assert!(wrong.parse::<UrlGrant>().is_err(), "{wrong}");
    }
    for wrong in [
        "",
        "db",
        "db:",
        ":5432",
        "db:0",
        "db:99999",
        "a b:1",
        "http://db:1",
    ] {
        assert!(wrong.parse::<TcpGrant>().is_err(), "{wrong}");
    }
}

#[test]
fn a_grant_includes_what_is_narrower() {
    let includes = |wide: &str, narrow: &str| {
        let (wide, narrow): (UrlGrant, UrlGrant) = (wide.parse().unwrap(), narrow.parse().unwrap());
        wide.includes(&narrow)
    };
    assert!(includes(
        "https://a.example.com/",
        "GET https://a.example.com/v1"
    ));
    assert!(includes(
        "https://*.example.com/",
        "https://a.example.com/v1"
    ));
    assert!(includes(
        "https://*.example.com/",
        "https://*.b.example.com/"
    ));
    assert!(!includes(
        "GET https://a.example.com/",
        "https://a.example.com/"
    ));
    assert!(!includes(
        "https://a.example.com/v1",
        "https://a.example.com/"
    ));
    assert!(!includes(
        "https://a.example.com/",
        "https://*.example.com/"
    ));
    let tcp = |text: &str| text.parse::<TcpGrant>().unwrap();
    assert!(tcp("*.example.com:5432").includes(&tcp("db.example.com:5432")));
    assert!(!tcp("db.example.com:5432").includes(&tcp("db.example.com:5433")));
    for text in ["db.example.com:5432", "[::1]:5432", "*.example.com:1"] {
        assert_eq!(tcp(text).to_string(), text);
    }
    let shown: UrlGrant = "get HTTPS://A.example.com:443/v1/".parse().unwrap();
    assert_eq!(shown.to_string(), "GET https://a.example.com/v1/");
}

#[test]
fn a_raw_connection_needs_the_port_and_an_address_that_a_granted_name_gave() {
    let egress = |tcp: &[&str], allow_private| {
        let tcp: Vec<String> = tcp.iter().map(|text| (*text).to_owned()).collect();
        Egress::parse(&[], &tcp, allow_private).unwrap()
    };
    let connects = |egress: &Egress, address: &str, names: &[&str]| {
        egress.connects(address.parse().unwrap(), names.iter().copied())
    };
    let named = egress(&["db.example.com:5432"], false);
    assert!(named.looks_up("DB.example.com.") && !named.looks_up("other.example.com"));
    assert!(connects(&named, "8.8.8.8:5432", &["db.example.com"]));
    assert!(!connects(&named, "8.8.8.8:5433", &["db.example.com"]));
    assert!(!connects(&named, "8.8.8.8:5432", &[]));
    // Rebinding: the name was granted, the address that it gave now is not.
    for inside in [
        "127.0.0.1:5432",
        "10.0.0.1:5432",
        "169.254.169.254:5432",
        "[::1]:5432",
        "[::ffff:10.0.0.1]:5432",
    ] {
        assert!(!connects(&named, inside, &["db.example.com"]), "{inside}");
    }
    let private = egress(&["db.example.com:5432"], true);
    assert!(connects(&private, "10.0.0.1:5432", &["db.example.com"]));
    assert!(!connects(
        &private,
        "169.254.169.254:5432",
        &["db.example.com"]
    ));
    let written = egress(&["127.0.0.1:5432"], false);
    assert!(connects(&written, "127.0.0.1:5432", &[]));
    assert!(connects(&written, "[::ffff:127.0.0.1]:5432", &[]));
    assert!(!connects(&written, "127.0.0.1:5433", &[]));
    assert!(!connects(&written, "127.0.0.2:5432", &[]));
}

#[test]
fn a_grant_without_a_host_is_none() {
    for text in [
        "http://.",
        "https://./v1",
        "http://..",
        "http://a..b/",
        "https://*..com/",
        "http://.a/",
    ] {
        let error = text.parse::<UrlGrant>().unwrap_err();
        assert!(
            matches!(error, GrantError::Host(_) | GrantError::Url(_)),
            "{text}: {error}"
        );
    }
    assert!(".:80".parse::<TcpGrant>().is_err() && "a..b:80".parse::<TcpGrant>().is_err());
    assert!("http://a.b./".parse::<UrlGrant>().is_ok());
}
