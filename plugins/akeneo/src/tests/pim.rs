//! A small stand-in of Akeneo, and how tests read from it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crossdock_sdk::http::{Error, Request, Response};
use crossdock_sdk::prelude::*;
use crossdock_sdk::testing::{Host, SourceDriver};

use crate::AkeneoSource;

pub(super) type Driver = SourceDriver<AkeneoSource>;

/// Items per path, as raw JSON, and answers that stand in the way of the next requests.
#[derive(Default)]
pub(super) struct Pim {
    pub(super) lists: BTreeMap<String, Vec<String>>,
    /// Cursors that were handed out.
    pub(super) cursors: Vec<String>,
    /// Answers for the next requests, in order.
    pub(super) trouble: Vec<Result<Response, Error>>,
    pub(super) date: Option<&'static str>,
}

impl Pim {
    pub(super) fn catalogue() -> Self {
        let mut pim = Self::default();
        let codes = |names: &[&str]| {
            names
                .iter()
                .map(|code| format!(r#"{{"code": "{code}"}}"#))
                .collect::<Vec<_>>()
        };
        pim.put("families", codes(&["shoes", "caps", "bags"]));
        pim.put(
            "families/shoes/variants",
            codes(&["shoes_size", "shoes_color"]),
        );
        pim.put("families/caps/variants", vec![]);
        pim.put("families/bags/variants", codes(&["bags_color"]));
        pim.put(
            "attributes",
            [
                "sku pim_catalog_identifier",
                "color pim_catalog_simpleselect",
                "tags pim_catalog_multiselect",
                "name pim_reference_data_simpleselect",
            ]
            .iter()
            .map(|pair| {
                let (code, kind) = pair.split_once(' ').unwrap();
                format!(r#"{{"code":"{code}","type":"{kind}"}}"#)
            })
            .collect(),
        );
        let option = |attribute: &str, code: &str| {
            format!(r#"{{"code":"{code}","attribute":"{attribute}"}}"#)
        };
        pim.put(
            "attributes/color/options",
            ["red", "blue", "green"]
                .map(|code| option("color", code))
                .into(),
        );
        pim.put("attributes/tags/options", vec![option("tags", "new")]);
        pim.put(
            "categories",
            codes(&["master", "shirts", "trousers", "hats", "sale"]),
        );
        pim.put("product-models", codes(&["m1", "m2"]));
        pim.put(
            "products",
            (0..7).map(|n| {
                format!(r#"{{ "identifier":"p{n}", "values":{{"w":[{{"data":{n}.50}}]}}, "updated":"2026-01-0{}T10:00:00+02:00" }}"#, n + 1)
            }).collect(),
        );
        pim
    }

    pub(super) fn put(&mut self, path: &str, items: Vec<String>) {
        self.lists.insert(path.to_owned(), items);
    }

    pub(super) fn answer(&mut self, request: &Request) -> Result<Response, Error> {
        if !self.trouble.is_empty() {
            let answer = self.trouble.remove(0);
            if !matches!(&answer, Ok(response) if response.status == 299) {
                return answer;
            }
        }
        assert_eq!(request.connection_name(), "pim");
        let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
        let path = path
            .strip_prefix("https://pim.test")
            .unwrap_or(path)
            .strip_prefix("/api/rest/v1/")
            .unwrap();
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| {
                pair.split_once('=')
                    .filter(|(key, _)| *key == name)
                    .map(|(_, value)| value)
            })
        };
        let Some(items) = self.lists.get(path) else {
            return Ok(Response::new(
                404,
                r#"{"code":404,"message":"Resource not found"}"#,
            ));
        };
        let limit: usize = parameter("limit").unwrap().parse().unwrap();
        let start = match parameter("cursor") {
            Some(cursor) => match self.cursors.iter().position(|known| known == cursor) {
                Some(_) => cursor.rsplit_once('-').unwrap().1.parse().unwrap(),
                None => {
                    return Ok(Response::new(
                        422,
                        r#"{"code":422,"message":"Unknown cursor"}"#,
                    ));
                }
            },
            None => 0,
        };
        let end = items.len().min(start + limit);
        let next = if end < items.len() {
            let cursor = format!("{}-{end}", path.replace('/', "-"));
            let link = format!(
                r#","next":{{"href":"https://pim.test/api/rest/v1/{path}?limit={limit}&cursor={cursor}"}}"#
            );
            self.cursors.push(cursor);
            link
        } else {
            String::new()
        };
        let body = format!(
            r#"{{"_links":{{"self":{{"href":"x"}}{next}}},"current_page":1,"_embedded":{{"items":[{}]}}}}"#,
            items[start..end].join(" , ")
        );
        let response = Response::new(200, body);
        Ok(match self.date {
            Some(date) => response.with_header("date", date),
            None => response,
        })
    }
}

pub(super) fn host(pim: Pim) -> (Host, Rc<RefCell<Pim>>) {
    let host = Host::new();
    let pim = Rc::new(RefCell::new(pim));
    let shared = Rc::clone(&pim);
    host.on_http(move |request| shared.borrow_mut().answer(request));
    (host, pim)
}

pub(super) fn config(more: &str) -> String {
    format!(r#"{{"connection":"pim","page-size":2{more}}}"#)
}

pub(super) fn budget(records: usize) -> Budget {
    Budget {
        records,
        bytes: 1 << 20,
        time: Duration::from_mins(1),
    }
}

/// `stream/key` of every record up to the end.
pub(super) fn read_to_end(driver: &mut Driver, records: usize) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        match driver.read(budget(records)).unwrap() {
            Read::Page(page) => {
                assert!(page.records.len() <= records);
                assert!(page.unreadable.is_empty());
                seen.extend(
                    page.records
                        .records()
                        .map(|record| format!("{}/{}", record.stream(), record.key_str().unwrap())),
                );
            }
            Read::Idle(_) => {}
            Read::End => return seen,
        }
    }
}

pub(super) const ALL: [&str; 28] = [
    "families/shoes",
    "families/caps",
    "families/bags",
    "family-variants/shoes_size",
    "family-variants/shoes_color",
    "family-variants/bags_color",
    "attributes/sku",
    "attributes/color",
    "attributes/tags",
    "attributes/name",
    "attribute-options/color.red",
    "attribute-options/color.blue",
    "attribute-options/color.green",
    "attribute-options/tags.new",
    "categories/master",
    "categories/shirts",
    "categories/trousers",
    "categories/hats",
    "categories/sale",
    "product-models/m1",
    "product-models/m2",
    "products/p0",
    "products/p1",
    "products/p2",
    "products/p3",
    "products/p4",
    "products/p5",
    "products/p6",
];
