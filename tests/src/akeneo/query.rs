//! The parameters of a list: paging, and the links to other pages.

use serde::Serialize;

use super::error::ApiError;

const MOST: usize = 100;
/// Products and models cannot be paged further than this by number.
const OFFSET_LIMIT: usize = 10_000;

/// The query of a request, decoded.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(pub(super) Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: Option<&str>) -> Self {
        Self(
            url::form_urlencoded::parse(text.unwrap_or_default().as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The last parameter of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A comma list; `None` when the parameter is missing.
    pub(super) fn list(&self, name: &str) -> Option<Vec<&str>> {
        self.get(name).map(|text| {
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .collect()
        })
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, ApiError> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| {
                    ApiError::unprocessable(format!("\"{text}\" is not a valid {name} number."))
                }),
        }
    }

    /// The same query with some parameters changed (`None` = removed).
    fn with(&self, changes: &[(&str, Option<String>)]) -> String {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.0 {
            if !changes.iter().any(|(changed, _)| changed == name) {
                text.append_pair(name, value);
            }
        }
        for (name, value) in changes {
            if let Some(value) = value {
                text.append_pair(name, value);
            }
        }
        text.finish()
    }
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Paging {
    /// By number, from 1.
    Page {
        page: usize,
        limit: usize,
        count: bool,
    },
    /// From a position on.
    After { from: usize, limit: usize },
}

/// The positions that make up a page.
pub(super) struct Selected {
    pub(super) indexes: Vec<usize>,
    /// The position after the last one looked at, when there is more to come.
    next: Option<usize>,
    total: Option<usize>,
}

impl Paging {
    /// `big` lists know `search_after` and the limit of pages.
    pub(super) fn parse(query: &Query, big: bool) -> Result<Self, ApiError> {
        let limit = query.number("limit", 10)?;
        if limit > MOST {
            return Err(ApiError::unprocessable(
                "You cannot request more than 100 items.",
            ));
        }
        match query.get("pagination_type").filter(|_| big) {
            Some("search_after") => {
                let from = query.get("search_after").map_or(Ok(0), open_cursor)?;
                Ok(Self::After { from, limit })
            }
            None | Some("page") => {
                let page = query.number("page", 1)?;
                if big && (page - 1).saturating_mul(limit) >= OFFSET_LIMIT {
                    let message = "You have reached the maximum number of pages you can retrieve with the \"page\" \
                                   pagination type. Please use the search after pagination type instead";
                    return Err(ApiError::unprocessable(message)
                        .see("pagination.html#the-search-after-method"));
                }
                Ok(Self::Page {
                    page,
                    limit,
                    count: query.flag("with_count"),
                })
            }
            Some(_) => Err(ApiError::unprocessable("Pagination type does not exist.")),
        }
    }

    /// Takes this page from a list of `len` items, of which those count that match. Without a filter (`matches` is
    /// `None`) no item is looked at.
    pub(super) fn select(&self, len: usize, matches: Option<&dyn Fn(usize) -> bool>) -> Selected {
        let (from, skip, limit, count) = match *self {
            Self::Page { page, limit, count } => {
                (0, (page - 1).saturating_mul(limit), limit, count)
            }
            Self::After { from, limit } => (from, 0, limit, false),
        };
        let Some(matches) = matches else {
            let first = from.saturating_add(skip).min(len);
            let end = first.saturating_add(limit).min(len);
            return Selected {
                indexes: (first..end).collect(),
                next: (end < len).then_some(end),
                total: count.then_some(len),
            };
        };
        let mut found = (from.min(len)..len)
            .filter(|&index| matches(index))
            .skip(skip);
        let indexes: Vec<usize> = found.by_ref().take(limit).collect();
        let last = indexes.last().map_or(len, |last| last + 1);
        let next = found.next().map(|_| last);
        let total = count.then(|| (0..len).filter(|&index| matches(index)).count());
        Selected {
            indexes,
            next,
            total,
        }
    }

    /// The list with its links. `url` is the address of the list without a query.
    pub(super) fn envelope<T>(
        &self,
        url: &str,
        query: &Query,
        selected: &Selected,
        items: Vec<T>,
    ) -> Envelope<T> {
        let link = |changes: &[(&str, Option<String>)]| Link {
            href: format!("{url}?{}", query.with(changes)),
        };
        let (links, current_page) = match self {
            Self::Page { page, limit, count } => {
                let to = |page: usize| {
                    link(&[
                        ("page", Some(page.to_string())),
                        ("with_count", Some(count.to_string())),
                        ("pagination_type", Some("page".to_owned())),
                        ("search_after", None),
                        ("limit", Some(limit.to_string())),
                    ])
                };
                let links = Links {
                    own: to(*page),
                    first: to(1),
                    previous: (*page > 1).then(|| to(page - 1)),
                    next: selected.next.map(|_| to(page + 1)),
                };
                (links, Some(*page))
            }
            Self::After { limit, .. } => {
                let to = |cursor: Option<String>| {
                    link(&[("search_after", cursor), ("limit", Some(limit.to_string()))])
                };
                let links = Links {
                    own: to(query.get("search_after").map(str::to_owned)),
                    first: to(None),
                    previous: None,
                    next: selected.next.map(|next| to(Some(cursor(next)))),
                };
                (links, None)
            }
        };
        Envelope {
            links,
            current_page,
            items_count: selected.total,
            embedded: Embedded { items },
        }
    }
}

/// A page of a list.
#[derive(Serialize)]
pub(super) struct Envelope<T> {
    #[serde(rename = "_links")]
    links: Links,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_page: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items_count: Option<usize>,
    #[serde(rename = "_embedded")]
    embedded: Embedded<T>,
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    own: Link,
    first: Link,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Link>,
}

#[derive(Serialize)]
struct Link {
    href: String,
}

#[derive(Serialize)]
struct Embedded<T> {
    items: Vec<T>,
}

/// A cursor means nothing to a client: the position, mixed, with a check that finds cursors made by hand.
fn cursor(position: usize) -> String {
    let mixed = mix(position as u64);
    format!("{mixed:016x}{:04x}", check(mixed))
}

fn open_cursor(text: &str) -> Result<usize, ApiError> {
    let wrong = || ApiError::unprocessable("The search_after cursor is not valid.");
    let (mixed, sum) = text.split_at_checked(16).ok_or_else(wrong)?;
    let mixed = u64::from_str_radix(mixed, 16).map_err(|_| wrong())?;
    if format!("{:04x}", check(mixed)) != sum {
        return Err(wrong());
    }
    usize::try_from(unmix(mixed)).map_err(|_| wrong())
}

const MASK: u64 = 0x5DEE_CE66_D1CE_4E5B;

fn mix(position: u64) -> u64 {
    position.reverse_bits().rotate_left(23) ^ MASK
}

fn unmix(mixed: u64) -> u64 {
    (mixed ^ MASK).rotate_right(23).reverse_bits()
}

fn check(mixed: u64) -> u16 {
    // The middle of a product with an odd number depends on every bit.
    let product = u128::from(mixed) * 0x9E37_79B9_7F4A_7C15;
    u16::from_le_bytes([product.to_le_bytes()[7], product.to_le_bytes()[8]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_open_to_their_position_and_forged_ones_do_not() {
        for position in [0, 1, 99, 100, 12_345, 10_000_000] {
            assert_eq!(open_cursor(&cursor(position)).unwrap(), position);
        }
        for forged in ["", "100", "qaXbcde", "00000000000000640000", "ä"] {
            assert!(open_cursor(forged).is_err(), "{forged}");
        }
    }

    #[test]
    fn a_filtered_page_knows_whether_more_follows() {
        let even = |index: usize| index.is_multiple_of(2);
        let page = |page, count| {
            Paging::Page {
                page,
                limit: 3,
                count,
            }
            .select(10, Some(&even))
        };
        assert_eq!(page(1, false).indexes, [0, 2, 4]);
        assert!(page(1, false).next.is_some());
        assert_eq!(page(2, true).indexes, [6, 8]);
        assert!(page(2, false).next.is_none());
        assert_eq!(page(2, true).total, Some(5));
        let after = Paging::After { from: 5, limit: 2 }.select(10, Some(&even));
        assert_eq!((after.indexes, after.next), (vec![6, 8], None));
    }
}
