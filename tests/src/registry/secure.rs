//! What companies put around a registry: certificates of an own authority, and a service that gives tokens.

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SigningKey as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// What the registry and the service agree on.
pub(super) const SERVICE: &str = "test-registry";
pub(super) const ISSUER: &str = "test-tokens";
/// What `docker login` would keep instead of a password.
pub const IDENTITY: &str = "identity-of-ann";

/// An authority, and the one certificate that it has signed: for this machine.
pub(super) struct Authority {
    pub(super) pem: String,
    pub(super) certificate: String,
    pub(super) key: String,
    der: CertificateDer<'static>,
    pair: KeyPair,
}

impl Authority {
    pub(super) fn new() -> Self {
        let own = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no name is wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&own).expect("it can be signed");
        let issuer = Issuer::new(params, own);
        let pair = KeyPair::generate().expect("keys can be made");
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = CertificateParams::new(names).expect("the names are right");
        let certificate = params.signed_by(&pair, &issuer).expect("it can be signed");
        Self {
            pem: root.pem(),
            certificate: certificate.pem(),
            key: pair.serialize_pem(),
            der: certificate.der().clone(),
            pair,
        }
    }

    /// Writes everything to where the registry reads it.
    pub(super) fn write(&self, folder: &Path) -> std::io::Result<()> {
        for (name, text) in [
            ("ca.pem", &self.pem),
            ("server.pem", &self.certificate),
            ("server.key", &self.key),
        ] {
            std::fs::write(folder.join(name), text)?;
        }
        Ok(())
    }
}

/// Gives tokens to `ann` (password `secret`, who may write) and `bob` (password `reader`, who may not).
pub(super) struct TokenService {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TokenService {
    /// Starts it on a thread that ends with the test's process.
    pub(super) fn start(authority: Authority) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let (sender, port) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            runtime.block_on(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
                let listener = listener.expect("a port is free");
                let own = listener.local_addr().expect("it listens");
                sender.send(own.port()).expect("somebody waits for it");
                serve(listener, authority, log).await;
            });
        });
        let port = port.recv().expect("it starts");
        Self { port, asked }
    }

    /// What was asked for, as `WHO SCOPE`.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn serve(listener: TcpListener, authority: Authority, log: Arc<Mutex<Vec<String>>>) {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(authority.pair.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_no_client_auth()
        .with_single_cert(vec![authority.der.clone()], key)
        .expect("certificate and key belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((socket, _)) = listener.accept().await {
        // Who does not trust us ends the handshake.
        drop(one(&acceptor, socket, &authority, &log).await);
    }
}

/// One request.
async fn one(
    acceptor: &TlsAcceptor,
    socket: TcpStream,
    authority: &Authority,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(socket).await?;
    let mut text = Vec::new();
    let (head, body) = loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await?;
        text.extend_from_slice(piece.get(..count).unwrap_or_default());
        let so_far = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = so_far.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            break (head.to_owned(), body.to_owned());
        }
        if count == 0 {
            return Ok(());
        }
    };
    let answer = match answered(&head, &body, authority, log) {
        Some(token) => {
            let body = json!({ "token": token, "expires_in": 300 }).to_string();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        }
        None => {
            "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn length(head: &str) -> usize {
    header(head, "content-length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// The token for a request, when there is one for who asks.
fn answered(
    head: &str,
    body: &str,
    authority: &Authority,
    log: &Mutex<Vec<String>>,
) -> Option<String> {
    let path = head.split_whitespace().nth(1)?;
    let query = if head.starts_with("POST") {
        body
    } else {
        path.split_once('?')?.1
    };
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let of = |name: &str| {
        pairs
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    };
    let who = match (of("refresh_token"), header(head, "authorization")) {
        (Some(IDENTITY), _) => "ann",
        (Some(_), _) => return None,
        (None, None) => "nobody",
        (None, Some(basic)) => {
            let pair = STANDARD.decode(basic.strip_prefix("Basic ")?).ok()?;
            match pair.as_slice() {
                b"ann:secret" => "ann",
                b"bob:reader" => "bob",
                _ => return None,
            }
        }
    };
    let scope = of("scope")?;
    log.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(format!("{who} {scope}"));
    if who == "nobody" || of("service")? != SERVICE {
        return None;
    }
    Some(token(scope, who, authority))
}

/// A token as the registry believes it.
fn token(scope: &str, who: &str, authority: &Authority) -> String {
    let mut parts = scope.splitn(2, ':');
    let kind = parts.next().unwrap_or_default();
    let (name, actions) = parts
        .next()
        .and_then(|rest| rest.rsplit_once(':'))
        .unwrap_or_default();
    let granted: Vec<&str> = actions
        .split(',')
        .filter(|action| who == "ann" || *action == "pull")
        .collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&authority.der)] });
    let claims = json!({
        "iss": ISSUER, "sub": who, "aud": SERVICE, "exp": now + 300, "nbf": now - 60, "iat": now, "jti": "1",
        "access": [{ "type": kind, "name": name, "actions": granted }],
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = authority
        .pair
        .sign(signed.as_bytes())
        .expect("it can be signed");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(fixed(&signature)))
}

/// An ECDSA signature as two numbers of 32 bytes, which tokens have, from its DER form.
fn fixed(der: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = der.get(2..).unwrap_or_default();
    for _ in 0..2 {
        let length = rest.get(1).map_or(0, |length| usize::from(*length));
        let number = rest.get(2..2 + length).unwrap_or_default();
        rest = rest.get(2 + length..).unwrap_or_default();
        let start = number.len().saturating_sub(32);
        let number = number.get(start..).unwrap_or_default();
        out.resize(out.len() + 32 - number.len(), 0);
        out.extend_from_slice(number);
    }
    out
}
