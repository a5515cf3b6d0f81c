//! One message as one JSON object: named fields where [`crate::field`] has names, everything else as it is. Nothing of a
//! message is lost: a segment with more in it than has names carries its `elements`, segments without a place are in `other`.

use crossdock_sdk::json::write_string;

use crate::charset::Charset;
use crate::field::{self, Field, Kind};
use crate::shape::{Node, shape};
use crate::token::{Part, Segment};
use crate::value;

/// Message types that have the shape of orders and invoices. Others are lists of segments.
const SHAPED: [&str; 7] = [
    "ORDERS", "ORDRSP", "ORDCHG", "INVOIC", "DESADV", "RECADV", "PRICAT",
];

/// Why a message cannot be read.
pub(crate) type Problem = String;

/// Writes what is in the segments of a message into `out`, which holds the beginning of an object with at least one member.
/// The segments are those between `UNH` and `UNT`.
pub(crate) fn write_body(
    kind: &str,
    segments: &[Segment<'_>],
    charset: Charset,
    out: &mut Vec<u8>,
) -> Result<(), Problem> {
    let mut writer = Writer {
        segments,
        charset,
        out,
    };
    if SHAPED.contains(&kind) {
        let (header, summary) = shape(segments);
        writer.members(&header, false)?;
        if let Some(summary) = summary {
            writer.name("summary", false);
            writer.object(&summary)?;
        }
        return Ok(());
    }
    writer.name("segments", false);
    let all: Vec<usize> = (0..segments.len()).collect();
    writer.raw_segments(&all)
}

/// The text of a part, or which byte is none.
pub(crate) fn text<'p>(
    part: &'p Part<'_>,
    charset: Charset,
) -> Result<std::borrow::Cow<'p, str>, Problem> {
    charset.decode(&part.bytes).map_err(|byte| {
        format!(
            "the byte 0x{byte:02X} is not of the character set that UNB names; set `encoding` to what the file is in"
        )
    })
}

/// Writes members named by these fields. `true`: every part has a name. `first`: nothing stands before them.
pub(crate) fn write_fields(
    segment: &Segment<'_>,
    fields: &[Field],
    charset: Charset,
    first: &mut bool,
    out: &mut Vec<u8>,
) -> Result<bool, Problem> {
    let mut named = 0;
    for field in fields {
        let mut members = Members {
            charset,
            first,
            out,
        };
        named += members.field(segment, field)?;
    }
    Ok(named == segment.parts.len())
}

/// Members of an object in the making.
struct Members<'o> {
    charset: Charset,
    first: &'o mut bool,
    out: &'o mut Vec<u8>,
}

impl Members<'_> {
    fn name(&mut self, name: &str) {
        if !std::mem::take(self.first) {
            self.out.push(b',');
        }
        write_string(name, self.out);
        self.out.push(b':');
    }

    fn text(&mut self, part: &Part<'_>) -> Result<(), Problem> {
        write_string(&text(part, self.charset)?, self.out);
        Ok(())
    }

    /// Writes one field, if it is there; gives the number of parts in it.
    fn field(&mut self, segment: &Segment<'_>, field: &Field) -> Result<usize, Problem> {
        let at = |element: u16, component: u16| {
            let place = (element, 0, component);
            let mut parts = segment.parts.iter();
            parts.find(move |part| (part.element, part.repeat, part.component) == place)
        };
        let found = at(field.element, field.component);
        match field.kind {
            Kind::Text => {
                let Some(part) = found else { return Ok(0) };
                self.name(field.name);
                self.text(part)?;
                Ok(1)
            }
            Kind::Number => {
                let Some(part) = found else { return Ok(0) };
                let number = text(part, self.charset)?;
                self.name(field.name);
                if value::number(&number, self.out) {
                    return Ok(1);
                }
                Err(format!("`{number}` is no number ({})", field.name))
            }
            Kind::Date => {
                let Some(part) = found else { return Ok(0) };
                let format = at(field.element, field.component + 1);
                let date = text(part, self.charset)?;
                let code = format
                    .map(|format| text(format, self.charset))
                    .transpose()?;
                self.name(field.name);
                if let Some(iso) = value::date(&date, code.as_deref().unwrap_or_default()) {
                    write_string(&iso, self.out);
                } else {
                    write_string(&date, self.out);
                    if let Some(code) = &code {
                        self.name("format");
                        write_string(code, self.out);
                    }
                }
                Ok(1 + usize::from(code.is_some()))
            }
            Kind::Texts(last) => {
                let parts =
                    (field.component..=last).filter_map(|component| at(field.element, component));
                let parts: Vec<&Part<'_>> = parts.collect();
                if parts.is_empty() {
                    return Ok(0);
                }
                self.name(field.name);
                for (number, part) in parts.iter().enumerate() {
                    self.out.push(if number == 0 { b'[' } else { b',' });
                    self.text(part)?;
                }
                self.out.push(b']');
                Ok(parts.len())
            }
            Kind::Items(last) => self.items(
                field.name,
                (field.element..=last).map(|element| (at(element, 0), at(element, 1))),
            ),
        }
    }

    fn items<'p>(
        &mut self,
        name: &str,
        items: impl Iterator<Item = (Option<&'p Part<'p>>, Option<&'p Part<'p>>)>,
    ) -> Result<usize, Problem> {
        let mut named = 0;
        for (id, kind) in items.filter(|(id, kind)| id.is_some() || kind.is_some()) {
            if named == 0 {
                self.name(name);
            }
            self.out.push(if named == 0 { b'[' } else { b',' });
            self.out.push(b'{');
            let mut first = true;
            for (name, part) in [("id", id), ("type", kind)] {
                let Some(part) = part else { continue };
                let mut inner = Members {
                    charset: self.charset,
                    first: &mut first,
                    out: self.out,
                };
                inner.name(name);
                inner.text(part)?;
                named += 1;
            }
            self.out.push(b'}');
        }
        if named > 0 {
            self.out.push(b']');
        }
        Ok(named)
    }
}

struct Writer<'a, 'm> {
    segments: &'a [Segment<'m>],
    charset: Charset,
    out: &'a mut Vec<u8>,
}

impl Writer<'_, '_> {
    fn name(&mut self, name: &str, first: bool) {
        if !first {
            self.out.push(b',');
        }
        write_string(name, self.out);
        self.out.push(b':');
    }

    /// The number of a segment as `UNT` counts, with `UNH` as the first one.
    fn blame(&self, at: usize, problem: &str) -> Problem {
        let tag = self
            .segments
            .get(at)
            .map(|segment| String::from_utf8_lossy(&segment.tag))
            .unwrap_or_default();
        format!("segment {} ({tag}): {problem}", at + 2)
    }

    fn object(&mut self, node: &Node) -> Result<(), Problem> {
        self.out.push(b'{');
        self.members(node, true)?;
        self.out.push(b'}');
        Ok(())
    }

    /// The members of a node: its own fields, then what belongs to it.
    fn members(&mut self, node: &Node, mut first: bool) -> Result<(), Problem> {
        if let Some(at) = node.segment
            && let Some(segment) = self.segments.get(at)
            && let Some(fields) = field::of(&String::from_utf8_lossy(&segment.tag))
        {
            let all = write_fields(segment, fields.known, self.charset, &mut first, self.out)
                .map_err(|problem| self.blame(at, &problem))?;
            if !all {
                self.name("elements", first);
                first = false;
                self.raw(at)?;
            }
        }
        for (tag, nodes) in &node.lists {
            let Some(fields) = field::of(tag) else {
                continue;
            };
            self.name(fields.list, first);
            first = false;
            if *tag == field::DOCUMENT {
                for node in nodes {
                    self.object(node)?;
                }
                continue;
            }
            let mut start = b'[';
            for node in nodes {
                if fields.each {
                    self.each(node, fields.known, &mut start)?;
                    continue;
                }
                self.out.push(start);
                start = b',';
                self.object(node)?;
            }
            if start == b'[' {
                self.out.push(start);
            }
            self.out.push(b']');
        }
        if !node.other.is_empty() {
            self.name("other", first);
            self.raw_segments(&node.other)?;
        }
        Ok(())
    }

    /// Every composite of a segment as an entry.
    fn each(&mut self, node: &Node, fields: &[Field], start: &mut u8) -> Result<(), Problem> {
        let Some(at) = node.segment else {
            return Ok(());
        };
        let Some(segment) = self.segments.get(at) else {
            return Ok(());
        };
        for composite in segment
            .parts
            .chunk_by(|a, b| (a.element, a.repeat) == (b.element, b.repeat))
        {
            let parts = composite.iter().map(|part| Part {
                element: 0,
                repeat: 0,
                ..part.clone()
            });
            let alone = Segment {
                tag: segment.tag.clone(),
                parts: parts.collect(),
            };
            self.out.push(*start);
            *start = b',';
            self.out.push(b'{');
            let mut first = true;
            let all = write_fields(&alone, fields, self.charset, &mut first, self.out)
                .map_err(|problem| self.blame(at, &problem))?;
            if !all {
                self.name("elements", first);
                self.elements(&alone.parts)
                    .map_err(|problem| self.blame(at, &problem))?;
            }
            self.out.push(b'}');
        }
        Ok(())
    }

    fn raw_segments(&mut self, positions: &[usize]) -> Result<(), Problem> {
        self.out.push(b'[');
        for (number, at) in positions.iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            let Some(segment) = self.segments.get(*at) else {
                continue;
            };
            self.out.push(b'{');
            self.name("tag", true);
            write_string(&String::from_utf8_lossy(&segment.tag), self.out);
            self.name("elements", false);
            self.raw(*at)?;
            self.out.push(b'}');
        }
        self.out.push(b']');
        Ok(())
    }

    fn raw(&mut self, at: usize) -> Result<(), Problem> {
        let Some(segment) = self.segments.get(at) else {
            return Ok(());
        };
        self.elements(&segment.parts)
            .map_err(|problem| self.blame(at, &problem))
    }

    /// Elements as lists of components; a repeated element is a list of those.
    fn elements(&mut self, parts: &[Part<'_>]) -> Result<(), Problem> {
        self.out.push(b'[');
        let mut next = 0;
        for element in parts.chunk_by(|a, b| a.element == b.element) {
            let number = element.first().map_or(0, |part| part.element);
            for empty in next..number {
                self.out
                    .extend_from_slice(if empty == 0 { b"[]" } else { b",[]" });
            }
            if number > 0 {
                self.out.push(b',');
            }
            next = number + 1;
            let repeated = element.iter().any(|part| part.repeat > 0);
            if repeated {
                self.out.push(b'[');
            }
            for (at, one) in element.chunk_by(|a, b| a.repeat == b.repeat).enumerate() {
                if at > 0 {
                    self.out.push(b',');
                }
                self.components(one)?;
            }
            if repeated {
                self.out.push(b']');
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn components(&mut self, parts: &[Part<'_>]) -> Result<(), Problem> {
        self.out.push(b'[');
        let mut next = 0;
        for part in parts {
            for _ in next..part.component {
                self.out.extend_from_slice(b"\"\",");
            }
            next = part.component + 1;
            write_string(&text(part, self.charset)?, self.out);
            self.out.push(b',');
        }
        // There is at least one part, so the last byte is its comma.
        self.out.pop();
        self.out.push(b']');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signs::Signs;
    use crate::token::split;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn record(kind: &str, text: &str) -> Result<Value, Problem> {
        let signs = Signs::default().for_version("4");
        let segments: Vec<Segment<'_>> = text
            .split_terminator('\'')
            .map(|segment| split(segment.as_bytes(), signs))
            .collect();
        let mut out = br#"{"a":1"#.to_vec();
        write_body(kind, &segments, Charset::Utf8, &mut out)?;
        out.push(b'}');
        let mut value: Value = serde_json::from_slice(&out)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)));
        value.as_object_mut().unwrap().remove("a");
        Ok(value)
    }

    #[test]
    fn what_belongs_together_is_together() {
        let text = "BGM+220::9+B1+9+AB'DTM+137:20240311:102'DTM+2:20240399:102'RFF+CT:K1'DTM+171:202401:610'\
            NAD+BY+111::9++Muster:GmbH+Weg 1+Wien++1010+AT'RFF+VA:ATU1'CTA+IC+:Eva'COM+1:TE*2:FX+a?@b:EM'\
            CUX+2:EUR:9'LIN+1++871:EN'PIA+1+8641:BP+77:SA'QTY+21:38:PCE'PRI+AAA:75.50'RFF+ON:9'LIN+2'XYZ+a'QTY+21:1'\
            UNS+S'MOA+86:1960.29'CNT+2:2'";
        let expect = json!({
            "document": { "code": "220", "agency": "9", "number": "B1", "function": "9", "response": "AB" },
            "dates": [
                { "qualifier": "137", "value": "2024-03-11" },
                { "qualifier": "2", "value": "20240399", "format": "102" },
            ],
            "references": [{ "qualifier": "CT", "number": "K1", "dates": [{ "qualifier": "171", "value": "2024-01" }] }],
            "parties": [{
                "qualifier": "BY", "id": "111", "agency": "9", "name": ["Muster", "GmbH"], "street": ["Weg 1"],
                "city": "Wien", "postcode": "1010", "country": "AT",
                "references": [{ "qualifier": "VA", "number": "ATU1" }],
                "contacts": [{ "function": "IC", "name": "Eva", "communications": [
                    { "address": "1", "channel": "TE" }, { "address": "2", "channel": "FX" },
                    { "address": "a@b", "channel": "EM" },
                ] }],
            }],
            "currencies": [{ "usage": "2", "currency": "EUR", "qualifier": "9" }],
            "lines": [
                {
                    "number": "1", "item": "871", "item_type": "EN",
                    "other_items": [{ "qualifier": "1", "items": [{ "id": "8641", "type": "BP" }, { "id": "77", "type": "SA" }] }],
                    "quantities": [{ "qualifier": "21", "value": 38, "unit": "PCE" }],
                    "prices": [{ "qualifier": "AAA", "value": 75.50 }],
                    "references": [{ "qualifier": "ON", "number": "9" }],
                },
                {
                    "number": "2", "quantities": [{ "qualifier": "21", "value": 1 }],
                    "other": [{ "tag": "XYZ", "elements": [["a"]] }],
                },
            ],
            "summary": {
                "amounts": [{ "qualifier": "86", "value": 1960.29 }],
                "controls": [{ "qualifier": "2", "value": 2 }],
            },
        });
        assert_eq!(record("ORDERS", text).unwrap(), expect);
    }

    #[test]
    fn packages_of_a_despatch_advice_nest() {
        let text = "BGM+351+D1+9'CPS+1'PAC+2++201::9'CPS+2+1'PAC+1++CT'PCI+33E'GIN+BJ+340:341'LIN+1++871:EN'QTY+12:5'CPS+3+1'";
        let record = record("DESADV", text).unwrap();
        assert_eq!(
            record["consignments"],
            json!([
                { "id": "1", "packages": [{ "count": 2, "type": "201", "agency": "9" }] },
                {
                    "id": "2", "parent": "1",
                    "packages": [{ "count": 1, "type": "CT", "marks": [
                        { "instruction": "33E", "identities": [{ "qualifier": "BJ", "ids": ["340", "341"] }] },
                    ] }],
                    "lines": [{ "number": "1", "item": "871", "item_type": "EN",
                        "quantities": [{ "qualifier": "12", "value": 5 }] }],
                },
                { "id": "3", "parent": "1" },
            ])
        );
    }

    #[test]
    fn nothing_is_lost() {
        let got = record(
            "ORDERS",
            "BGM+220+A'BGM+220+B'NAD+BY+1:::4+++++++++X'LIN+1*2'QTY+21:1'",
        )
        .unwrap();
        assert_eq!(
            got["other"],
            json!([{ "tag": "BGM", "elements": [["220"], ["B"]] }])
        );
        assert_eq!(
            got["parties"][0]["elements"],
            json!([
                ["BY"],
                ["1", "", "", "4"],
                [],
                [],
                [],
                [],
                [],
                [],
                [],
                [],
                ["X"]
            ])
        );
        assert_eq!(got["lines"][0]["elements"], json!([[["1"], ["2"]]]));
        let other = record("PAORES", "MSG+1:45'ODI'IFT++a'").unwrap();
        assert_eq!(
            other["segments"],
            json!([
                { "tag": "MSG", "elements": [["1", "45"]] },
                { "tag": "ODI", "elements": [] },
                { "tag": "IFT", "elements": [[], ["a"]] },
            ])
        );
    }

    #[test]
    fn what_is_no_number_is_named() {
        let problem = record("ORDERS", "BGM+220+A'LIN+1'QTY+21:many'").unwrap_err();
        assert_eq!(problem, "segment 4 (QTY): `many` is no number (value)");
    }

    #[test]
    fn names_are_unique_wherever_they_meet() {
        let names = |tag: &str| {
            let fields = field::of(tag).unwrap();
            fields.known.iter().map(|field| field.name)
        };
        let lists: Vec<&str> = [
            "DTM", "MOA", "LOC", "RFF", "CTA", "COM", "QTY", "PCD", "TAX", "PRI", "PCI", "GIN",
            "MEA",
        ]
        .iter()
        .map(|tag| field::of(tag).unwrap().list)
        .chain(["elements", "other", "format"])
        .collect();
        for tag in [
            "BGM", "NAD", "TAX", "CUX", "PAT", "LOC", "TDT", "ALC", "PRI", "PCI", "PAC", "LIN",
            "CPS", "PGI",
        ] {
            let all: Vec<&str> = names(tag).collect();
            for (at, name) in all.iter().enumerate() {
                assert!(
                    !lists.contains(name) && !all[at + 1..].contains(name),
                    "{tag}: {name}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn every_message_is_one_object_with_all_of_its_texts(
            body in prop::collection::vec(
                ("(BGM|DTM|RFF|NAD|CTA|COM|LIN|PIA|FTX|CPS|PCI|GIN|UNS|PAI|XYZ|TDT|LOC)", "[a-z+:*]{0,12}"), 0..30),
            kind in "(ORDERS|PRICAT|OTHERS)",
        ) {
            let text: String = body.iter()
                .map(|(tag, rest)| if tag == "UNS" { "UNS+S'".to_owned() } else { format!("{tag}+{rest}'") })
                .collect();
            let got = record(&kind, &text).unwrap().to_string();
            for word in text.split(['+', ':', '*', '\'']).filter(|word| !word.is_empty() && word.chars().all(char::is_lowercase)) {
                prop_assert!(got.contains(&format!("\"{word}\"")), "{word} is lost: {text}\n{got}");
            }
        }
    }
}
