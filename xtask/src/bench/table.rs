//! Rows, and how they are shown. Everything measured is better when it is less.

use serde_json::{Value, json};

/// One thing that was measured.
pub(crate) struct Row {
    /// Group of the row.
    pub(crate) group: &'static str,
    /// What was measured.
    pub(crate) what: String,
    /// The result.
    pub(crate) measured: Quantity,
    /// What ran in turns with it: its name, and its result.
    pub(crate) beside: Option<(String, Quantity)>,
    /// The median of the rounds' ratios, less being better. Not always that of the two medians.
    pub(crate) ratio: Option<f64>,
    /// What it should be.
    pub(crate) aim: Option<Aim>,
    /// What else there is to say.
    pub(crate) note: String,
}

/// At most this.
pub(crate) enum Aim {
    /// Times what ran beside it.
    Ratio(f64),
    /// In the unit of the result.
    Value(f64),
}

/// A number with its unit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Quantity {
    /// Nanoseconds.
    Nanos(f64),
    /// Bytes.
    Bytes(f64),
    /// A part of a whole.
    Share(f64),
}

impl Quantity {
    pub(crate) fn value(self) -> f64 {
        match self {
            Self::Nanos(value) | Self::Bytes(value) | Self::Share(value) => value,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Nanos(_) => "ns",
            Self::Bytes(_) => "bytes",
            Self::Share(_) => "share",
        }
    }

    /// The same unit with another number.
    fn with(self, value: f64) -> Self {
        match self {
            Self::Nanos(_) => Self::Nanos(value),
            Self::Bytes(_) => Self::Bytes(value),
            Self::Share(_) => Self::Share(value),
        }
    }

    fn text(self) -> String {
        let scaled = |value: f64, step: f64, units: &[&str]| {
            let (mut value, mut at) = (value, 0);
            while value >= step && at + 1 < units.len() {
                value /= step;
                at += 1;
            }
            let digits = match value {
                ..10.0 => 2,
                ..100.0 => 1,
                _ => 0,
            };
            format!("{value:.digits$} {}", units[at])
        };
        match self {
            Self::Nanos(value) => scaled(value, 1000.0, &["ns", "µs", "ms", "s"]),
            Self::Bytes(value) => scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB"]),
            Self::Share(value) => format!("{:.1} %", value * 100.0),
        }
    }
}

impl Row {
    /// Whether it is as good as it should be, when there is an aim.
    fn met(&self) -> Option<bool> {
        match self.aim.as_ref()? {
            Aim::Ratio(limit) => self.ratio.map(|ratio| ratio <= *limit),
            Aim::Value(limit) => Some(self.measured.value() <= *limit),
        }
    }

    fn aim_text(&self) -> String {
        match &self.aim {
            None => String::new(),
            Some(Aim::Ratio(limit)) => format!("≤ {limit:.2}x"),
            Some(Aim::Value(limit)) => format!("≤ {}", self.measured.with(*limit).text()),
        }
    }

    fn document(&self) -> Value {
        let beside = self.beside.as_ref().map(
            |(name, result)| json!({ "name": name, "value": result.value(), "unit": result.unit() }),
        );
        let aim = self.aim.as_ref().map(|aim| match aim {
            Aim::Ratio(limit) => json!({ "of": "ratio", "at_most": limit }),
            Aim::Value(limit) => json!({ "of": "value", "at_most": limit }),
        });
        json!({
            "group": self.group,
            "what": self.what,
            "value": self.measured.value(),
            "unit": self.measured.unit(),
            "beside": beside,
            "ratio": self.ratio,
            "aim": aim,
            "met": self.met(),
            "note": self.note,
        })
    }
}

/// Everything that was measured.
pub(crate) struct Table {
    /// The rows, group by group.
    pub(crate) rows: Vec<Row>,
    /// Nothing was measured: the numbers mean nothing.
    pub(crate) quick: bool,
}

impl Table {
    /// For a script.
    pub(crate) fn document(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::document).collect();
        let missed = self.rows.iter().filter(|row| row.met() == Some(false));
        json!({ "ok": true, "quick": self.quick, "rows": rows, "missed": missed.count() })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        const HEAD: [&str; 7] = ["group", "what", "measured", "beside", "ratio", "aim", "met"];
        let cells: Vec<[String; 7]> = self
            .rows
            .iter()
            .map(|row| {
                let beside = row.beside.as_ref();
                let met = row.met().map(|met| if met { "yes" } else { "NO" });
                [
                    row.group.to_owned(),
                    row.what.clone(),
                    row.measured.text(),
                    beside.map_or_else(String::new, |(name, q)| format!("{} {name}", q.text())),
                    row.ratio.map_or_else(String::new, |r| format!("{r:.2}x")),
                    row.aim_text(),
                    met.unwrap_or_default().to_owned(),
                ]
            })
            .collect();
        let width = |column: usize| {
            let all = cells.iter().map(|row| row[column].chars().count());
            all.chain([HEAD[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
        let line = |row: &[String]| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        };
        let mut lines = vec![line(&HEAD.map(str::to_owned))];
        for (cells, row) in cells.iter().zip(&self.rows) {
            lines.push(line(cells));
            if !row.note.is_empty() {
                lines.push(format!("{:1$}  {2}", "", widths[0], row.note));
            }
        }
        if self.quick {
            lines.push("--quick: these numbers mean nothing".to_owned());
        }
        lines.join("\n")
    }
}

/// The value in the middle, 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or_default();
    if values.len() % 2 == 1 {
        upper
    } else {
        let lower = values.len().checked_sub(1).map(|last| values[last / 2]);
        f64::midpoint(lower.unwrap_or_default(), upper)
    }
}

/// The median of ratios of what ran in the same round.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_values() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).abs() < f64::EPSILON);
        assert!((ratio(&[1.0, 2.0, 9.0], &[2.0, 4.0, 9.0]) - 0.5).abs() < f64::EPSILON);
    }

    fn row(aim: Aim) -> Row {
        Row {
            group: "load",
            what: "it".to_owned(),
            measured: Quantity::Nanos(1500.0),
            beside: Some(("other".to_owned(), Quantity::Nanos(1000.0))),
            ratio: Some(1.5),
            aim: Some(aim),
            note: String::new(),
        }
    }

    #[test]
    fn an_aim_is_met_or_missed() {
        assert_eq!(row(Aim::Ratio(1.6)).met(), Some(true));
        assert_eq!(row(Aim::Ratio(1.4)).met(), Some(false));
        assert_eq!(row(Aim::Value(1000.0)).met(), Some(false));
        let table = Table {
            rows: vec![row(Aim::Ratio(1.6)), row(Aim::Value(1000.0))],
            quick: false,
        };
        assert_eq!(
            table.text(),
            "group  what  measured  beside         ratio  aim        met\n\
             load   it    1.50 µs   1.00 µs other  1.50x  ≤ 1.60x    yes\n\
             load   it    1.50 µs   1.00 µs other  1.50x  ≤ 1.00 µs  NO"
        );
        assert_eq!(table.document()["missed"], 1);
    }
}
