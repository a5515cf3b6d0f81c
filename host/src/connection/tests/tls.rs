//! TLS: a certificate of an own authority is trusted when it is named, and only then.

use std::{fs, net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
};

use super::{
    super::{Connections, SendError},
    assert_discreet, get, no_secrets, text,
};
use crate::flow::Variables;

/// An authority with its PEM, and what it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for this name, and its key.
    fn sign(&self, name: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// An HTTPS server for `localhost`, and the PEM of its authority.
async fn serve_tls() -> (SocketAddr, String) {
    let authority = Authority::new();
    (serve_as(&authority, None).await, authority.pem)
}

/// An HTTPS server for `localhost`. With `clients` it asks for a certificate that this authority has signed.
async fn serve_as(authority: &Authority, clients: Option<&Authority>) -> SocketAddr {
    let (certificate, key) = authority.sign("localhost");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(clients.der.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = builder
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            // A client that does not trust us, or that we do not trust, ends the handshake.
            let Ok(mut stream) = acceptor.accept(socket).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecure",
                )
                .await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn an_own_authority_is_trusted_when_it_is_named() {
    let (address, pem) = serve_tls().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), pem).unwrap();
    let load = |host: &str, more: &str| {
        let yaml = format!(
            "connection: pim\nbase-url: https://{host}:{}\nallow-private: true\n{more}",
            address.port()
        );
        fs::write(folder.path().join("pim.yaml"), yaml).unwrap();
        Connections::load(folder.path(), &Variables::default(), &no_secrets())
    };
    let trusting = load("localhost", "ca-file: ca.pem\n").unwrap();
    assert_eq!(text(&get(&trusting, "/").await.unwrap()), "secure");
    // Another name than the certificate's, and no authority: refused at once, with advice.
    for (host, more) in [("127.0.0.1", "ca-file: ca.pem\n"), ("localhost", "")] {
        let connections = load(host, more).unwrap();
        let refused = get(&connections, "/").await.unwrap_err();
        assert!(
            matches!(&refused, SendError::Unreachable(text) if text.contains("certificate")),
            "{refused}"
        );
        assert!(refused.to_string().contains("ca-file"), "{refused}");
        assert_eq!(connections.counters()["pim"].retries, 0);
    }
    fs::write(folder.path().join("ca.pem"), "no certificate").unwrap();
    let error = load("localhost", "ca-file: ca.pem\n").unwrap_err();
    assert!(error.to_string().contains("pim.yaml:4:10"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_servers_that_ask_for_it() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let address = serve_as(&servers, Some(&clients)).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", &servers.pem);
    let (certificate, key) = clients.sign("crossdock");
    write("client.pem", &certificate.pem());
    write("client.key", &key.serialize_pem());
    let (stranger, strange_key) = servers.sign("stranger");
    write("stranger.pem", &stranger.pem());
    write("stranger.key", &strange_key.serialize_pem());
    let load = |scheme: &str, more: &str| {
        let yaml = format!(
            "connection: pim\nbase-url: {scheme}://localhost:{}\nallow-private: true\nca-file: ca.pem\n{more}\n",
            address.port()
        );
        fs::write(folder.path().join("pim.yaml"), yaml).unwrap();
        Connections::load(folder.path(), &Variables::default(), &no_secrets())
    };
    let own = "client-certificate: { file: client.pem, key: { file: client.key } }";
    let known = load("https", own).unwrap();
    assert_eq!(text(&get(&known, "/").await.unwrap()), "secure");
    // Nobody, and somebody whom another authority knows.
    let strange = "client-certificate: { file: stranger.pem, key: { file: stranger.key } }";
    for refused in ["", strange] {
        let connections = load("https", &format!("retry: {{ attempts: 1 }}\n{refused}")).unwrap();
        get(&connections, "/").await.unwrap_err();
    }
    write("no.key", "hunter2");
    for (scheme, more, said) in [
        ("http", own, "without TLS"),
        (
            "https",
            "client-certificate: { file: no.key, key: { file: client.key } }",
            "no certificate in it",
        ),
        (
            "https",
            "client-certificate: { file: client.pem, key: { file: no.key } }",
            "no private key",
        ),
        (
            "https",
            "client-certificate: { file: client.pem, key: { file: nowhere } }",
            "cannot be read",
        ),
        (
            "https",
            "client-certificate: { file: nowhere, key: { file: client.key } }",
            "cannot be read",
        ),
    ] {
        let error = load(scheme, more).unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains("pim.yaml:5:"),
            "{error}"
        );
        assert_discreet(&error);
    }
}
