//! Which segments belong together. EDIFACT has no brackets: a group begins with its first segment and ends where a segment
//! comes that it cannot hold. The groups below are those of ORDERS, INVOIC, DESADV and PRICAT taken together, which agree
//! wherever they have the same segments; so messages of their families (ORDRSP, ORDCHG, ...) have the same shape.

use crate::field;
use crate::token::Segment;

/// A group of segments.
#[derive(Debug)]
pub(crate) struct Group {
    /// The segment that opens it.
    tag: &'static str,
    /// Single segments in it.
    segments: &'static [&'static str],
    /// Groups in it.
    groups: &'static [&'static Group],
}

const fn group(
    tag: &'static str,
    segments: &'static [&'static str],
    groups: &'static [&'static Group],
) -> Group {
    Group {
        tag,
        segments,
        groups,
    }
}

static REFERENCE: Group = group("RFF", &["DTM"], &[]);
static CONTACT: Group = group("CTA", &["COM"], &[]);
static PARTY: Group = group("NAD", &["LOC", "FII"], &[&REFERENCE, &CONTACT]);
static TAX: Group = group("TAX", &["MOA", "LOC"], &[]);
static CURRENCY: Group = group("CUX", &["PCD", "DTM"], &[]);
static TERMS: Group = group("PAT", &["DTM", "PCD", "MOA", "PAI"], &[]);
static PLACE: Group = group("LOC", &["DTM", "QTY", "PCD"], &[]);
static TRANSPORT: Group = group("TDT", &["PCD"], &[&PLACE]);
static DELIVERY: Group = group("TOD", &["LOC"], &[]);
static CHARGE: Group = group(
    "ALC",
    &["ALI", "DTM", "QTY", "PCD", "MOA", "RTE", "RNG"],
    &[&TAX],
);
static PRICE: Group = group("PRI", &["CUX", "APR", "RNG", "DTM"], &[]);
static MARK: Group = group("PCI", &["RFF", "DTM", "GIR", "GIN"], &[]);
static PACKAGE: Group = group("PAC", &["MEA", "QTY", "DTM"], &[&MARK]);
static VARIANCE: Group = group("QVR", &["DTM"], &[]);
static LINE: Group = group(
    "LIN",
    &[
        "PIA", "IMD", "MEA", "QTY", "PCD", "ALI", "DTM", "MOA", "GIN", "GIR", "FTX", "PAI", "CUX",
    ],
    &[
        &TERMS, &PRICE, &REFERENCE, &PACKAGE, &MARK, &PLACE, &TAX, &PARTY, &CHARGE, &TRANSPORT,
        &DELIVERY, &VARIANCE,
    ],
);
static CONSIGNMENT: Group = group("CPS", &["FTX"], &[&PACKAGE, &LINE]);
static PRODUCTS: Group = group(
    "PGI",
    &["DTM", "QTY", "ALI", "FTX", "PIA", "IMD", "MEA"],
    &[&PRICE, &CHARGE, &LINE],
);
static HEADER: Group = group(
    "",
    &[
        "BGM", "DTM", "PAI", "ALI", "IMD", "FTX", "GIR", "MEA", "MOA", "PCD", "CNT",
    ],
    &[
        &REFERENCE,
        &PARTY,
        &TAX,
        &CURRENCY,
        &TERMS,
        &TRANSPORT,
        &DELIVERY,
        &PACKAGE,
        &CHARGE,
        &CONSIGNMENT,
        &PRODUCTS,
        &LINE,
    ],
);
static AMOUNT: Group = group("MOA", &["RFF", "DTM"], &[]);
static SUMMARY: Group = group("", &["CNT"], &[&AMOUNT, &TAX, &CHARGE]);

/// A segment with what belongs to it, each list in the order of the message.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// Position of the segment in the message. `None`: the message itself, or its summary.
    pub(crate) segment: Option<usize>,
    /// Tag and nodes.
    pub(crate) lists: Vec<(&'static str, Vec<Node>)>,
    /// Positions of segments that have no place here.
    pub(crate) other: Vec<usize>,
}

impl Node {
    /// Whether a single segment has a name, and is not there once too often.
    fn takes(&self, tag: &str) -> bool {
        let there = || self.lists.iter().any(|(name, _)| *name == tag);
        field::of(tag).is_some() && (tag != field::DOCUMENT || !there())
    }

    fn add(&mut self, tag: &'static str, node: Node) {
        match self.lists.iter_mut().find(|(name, _)| *name == tag) {
            Some((_, list)) => list.push(node),
            None => self.lists.push((tag, vec![node])),
        }
    }
}

/// A message in its shape: what stands before `UNS+S`, and what behind it.
pub(crate) fn shape(segments: &[Segment<'_>]) -> (Node, Option<Node>) {
    let mut header = Node::default();
    let mut walk = Walk { segments, at: 0 };
    walk.fill(&HEADER, &[], &mut header);
    if walk.at == segments.len() {
        return (header, None);
    }
    let mut summary = Node::default();
    walk.at += 1;
    walk.fill(&SUMMARY, &[], &mut summary);
    (header, Some(summary))
}

struct Walk<'a, 'm> {
    segments: &'a [Segment<'m>],
    at: usize,
}

impl Walk<'_, '_> {
    /// Puts into `node` what belongs there, up to a segment that a group around it can hold, the end, or `UNS+S`.
    fn fill(&mut self, group: &'static Group, around: &[&'static Group], node: &mut Node) {
        while let Some(segment) = self.segments.get(self.at) {
            let is = |tag: &&&str| segment.is(tag);
            if segment.is("UNS") {
                // `UNS+D` stands between header and details, where LIN says the same; behind a first `UNS+S` none comes.
                if segment.get(0, 0) == Some(b"S") && !std::ptr::eq(group, &raw const SUMMARY) {
                    return;
                }
                self.at += 1;
            } else if let Some(tag) = group.segments.iter().find(is).filter(|tag| node.takes(tag)) {
                let leaf = Node {
                    segment: Some(self.at),
                    ..Node::default()
                };
                node.add(tag, leaf);
                self.at += 1;
            } else if let Some(inner) = group.groups.iter().find(|inner| segment.is(inner.tag)) {
                let mut child = Node {
                    segment: Some(self.at),
                    ..Node::default()
                };
                self.at += 1;
                let mut path = around.to_vec();
                path.push(group);
                self.fill(inner, &path, &mut child);
                node.add(inner.tag, child);
            } else if !group.holds(segment) && around.iter().any(|outer| outer.holds(segment)) {
                return;
            } else {
                // Nobody has a place for it: it stays with what it follows.
                node.other.push(self.at);
                self.at += 1;
            }
        }
    }
}

impl Group {
    fn holds(&self, segment: &Segment<'_>) -> bool {
        self.segments.iter().any(|tag| segment.is(tag))
            || self.groups.iter().any(|group| segment.is(group.tag))
    }
}
