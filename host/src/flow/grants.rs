//! What a stage may reach: what its flow grants it, joined with what its plugin is granted in every flow.

use serde::Serialize;

use super::{
    egress::{Egress, GrantError},
    spec::{FileGrantsSpec, GrantsSpec},
};

/// Grants from one or several places, joined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Grants {
    /// Folders.
    pub files: FileGrantsSpec,
    /// Connections, by name.
    pub connections: Vec<String>,
    /// Tables, by name.
    pub tables: Vec<String>,
    /// URLs without a connection.
    pub http: Vec<String>,
    /// Hosts and ports.
    pub tcp: Vec<String>,
    /// Those of `http` and `tcp` that stand beside an `allow-private`. It widens no grant of another place.
    pub allow_private: Vec<String>,
    /// Clocks in nanoseconds.
    pub precise_clock: bool,
}

impl From<GrantsSpec> for Grants {
    fn from(spec: GrantsSpec) -> Self {
        let GrantsSpec {
            files,
            connections,
            tables,
            http,
            tcp,
            allow_private,
            precise_clock,
        } = spec;
        let private = if allow_private {
            joined(&http, &tcp)
        } else {
            Vec::new()
        };
        Self {
            files,
            connections,
            tables,
            http,
            tcp,
            allow_private: private,
            precise_clock,
        }
    }
}

impl Grants {
    /// What either grants. A quota of one side only is the quota of both: it can only become narrower.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let quota = match (self.files.quota, other.files.quota) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            files: FileGrantsSpec {
                read: joined(&self.files.read, &other.files.read),
                write: joined(&self.files.write, &other.files.write),
                quota,
            },
            connections: joined(&self.connections, &other.connections),
            tables: joined(&self.tables, &other.tables),
            http: joined(&self.http, &other.http),
            tcp: joined(&self.tcp, &other.tcp),
            allow_private: joined(&self.allow_private, &other.allow_private),
            precise_clock: self.precise_clock || other.precise_clock,
        }
    }

    /// The network's part, read.
    ///
    /// # Errors
    /// The first grant that is none.
    pub fn egress(&self) -> Result<Egress, GrantError> {
        Egress::rules(&self.http, &self.tcp, |text| {
            self.allow_private.contains(text)
        })
    }
}

/// Both lists, each item once.
fn joined(one: &[String], other: &[String]) -> Vec<String> {
    let more = other.iter().filter(|item| !one.contains(item));
    one.iter().chain(more).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use url::Url;

    use super::*;

    fn grants(http: &str, tcp: &str, allow_private: bool) -> Grants {
        Grants::from(GrantsSpec {
            http: vec![http.to_owned()],
            tcp: vec![tcp.to_owned()],
            allow_private,
            ..GrantsSpec::default()
        })
    }

    #[test]
    fn a_flag_of_one_place_does_not_widen_the_grants_of_another() {
        let inside = grants("http://erp.internal/", "erp.internal:5432", true);
        let outside = grants("https://api.example.com/v1", "*.example.com:443", false);
        for both in [inside.union(&outside), outside.union(&inside)] {
            let egress = both.egress().unwrap();
            let inside = |url: &str| egress.request_inside("GET", &Url::parse(url).unwrap());
            assert!(inside("http://erp.internal/x"));
            assert!(!inside("https://api.example.com/v1/x"));
            let private: SocketAddr = "10.0.0.7:443".parse().unwrap();
            assert!(egress.leads_to("erp.internal", private.ip()));
            assert!(!egress.leads_to("db.example.com", private.ip()));
            assert!(!egress.connects(private, ["db.example.com"].into_iter()));
            // Nor at the port of the other grant.
            assert!(!egress.connects(private, ["erp.internal"].into_iter()));
            let database = "10.0.0.7:5432".parse().unwrap();
            assert!(egress.connects(database, ["erp.internal"].into_iter()));
            assert!(!egress.connects(database, ["db.example.com"].into_iter()));
        }
        // The same grant from both places is as wide as the wider one.
        let narrow = grants("http://erp.internal/", "erp.internal:5432", false);
        assert_eq!(narrow.union(&inside).egress(), inside.egress());
    }
}
