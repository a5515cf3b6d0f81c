//! TLS: a certificate of an own authority is trusted when it is named, and only then.

use std::{fs, net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::{
    super::{Connections, SendError},
    get, text,
};
use crate::flow::Variables;

/// An HTTPS server for `localhost`, and the PEM of its authority.
async fn serve_tls() -> (SocketAddr, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certificate.der().clone()], key)
    .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            // A client that does not trust us ends the handshake.
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
    (address, pem)
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
        Connections::load(folder.path(), &Variables::default())
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
