//! Which addresses may be reached, checked each time a name is resolved: a name that pointed elsewhere a moment ago does
//! not help.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{
    flow::egress::{Reach, name_may_lead_to, reach},
    names::Asker,
};

/// A name or literal leads to an address that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} is {address}, {kind}", kind = describe(*address))]
pub(super) struct AddressDenied {
    pub(super) host: String,
    pub(super) address: IpAddr,
}

fn describe(address: IpAddr) -> &'static str {
    match reach(address) {
        Reach::Private => {
            "a private or loopback address: `allow-private: true` in the connection or the stage's grants allows it"
        }
        Reach::Public | Reach::Never => {
            "a link-local, metadata, multicast or reserved address, which is never reached"
        }
    }
}

/// Turns names into addresses.
pub(super) trait Lookup: Send + Sync {
    /// All addresses of a name.
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The system's resolver, which a client has a share of.
impl Lookup for Asker {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let answer = self.ask(&host, None);
        Box::pin(async move { Ok(answer.await.map_err(io::Error::other)?.to_vec()) })
    }
}

/// Resolves names, and gives only allowed addresses to the one who connects.
#[derive(Clone)]
pub(super) struct CheckedResolver {
    allow_private: bool,
    lookup: Arc<dyn Lookup>,
}

impl CheckedResolver {
    pub(super) fn new(allow_private: bool) -> Self {
        Self::over(Arc::new(Asker::new()), allow_private)
    }

    fn over(lookup: Arc<dyn Lookup>, allow_private: bool) -> Self {
        Self {
            allow_private,
            lookup,
        }
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self {
            allow_private,
            lookup,
        } = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = lookup.lookup(host.to_owned()).await?;
            let allowed = filter(host, found, allow_private)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn filter(
    host: &str,
    found: Vec<SocketAddr>,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, AddressDenied> {
    let denied = found
        .iter()
        .find(|found| !name_may_lead_to(found.ip(), allow_private))
        .map(SocketAddr::ip);
    let allowed: Vec<_> = found
        .into_iter()
        .filter(|found| name_may_lead_to(found.ip(), allow_private))
        .collect();
    match denied {
        Some(address) if allowed.is_empty() => Err(AddressDenied {
            host: host.to_owned(),
            address,
        }),
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_one_allowed_address_leads_there_only() {
        let both: Vec<SocketAddr> =
            vec!["127.0.0.1:0".parse().unwrap(), "8.8.8.8:0".parse().unwrap()];
        assert_eq!(filter("h", both.clone(), false).unwrap(), both[1..]);
        assert_eq!(filter("h", both.clone(), true).unwrap(), both);
        let denied = filter("h", both[..1].to_vec(), false).unwrap_err();
        assert!(denied.to_string().contains("h is 127.0.0.1"), "{denied}");
        assert!(denied.to_string().contains("allow-private"), "{denied}");
    }

    /// A server of names that says something else each time it is asked.
    struct Rebinding(std::sync::Mutex<Vec<Vec<SocketAddr>>>);

    impl Lookup for Rebinding {
        fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            let answer = self.0.lock().unwrap().pop().unwrap();
            Box::pin(std::future::ready(Ok(answer)))
        }
    }

    #[tokio::test]
    async fn a_name_that_is_rebound_to_an_inside_address_is_refused_when_it_is_asked_again() {
        let answers = [
            "10.0.0.1:0",
            "169.254.169.254:0",
            "127.0.0.1:0",
            "8.8.8.8:0",
        ];
        let answers = answers.map(|text| vec![text.parse().unwrap()]).to_vec();
        let resolver = CheckedResolver::over(Arc::new(Rebinding(answers.into())), false);
        let ask = || resolver.resolve("rebinding.example.com".parse().unwrap());
        assert_eq!(ask().await.unwrap().count(), 1);
        for _ in 0..3 {
            assert!(
                ask()
                    .await
                    .err()
                    .unwrap()
                    .downcast_ref::<AddressDenied>()
                    .is_some()
            );
        }
    }
}
