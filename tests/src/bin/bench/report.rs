//! The table, the ratios, and what they mean.

use crate::drive::Figure;

/// One workload and what each system reached.
pub struct Row {
    /// What was done, and by how many clients.
    pub workload: String,
    /// This cluster.
    pub elastickv: Figure,
    /// One redis-server.
    pub redis: Option<Figure>,
    /// Three etcd members.
    pub etcd: Option<Figure>,
}

/// A quotient that the design sets a bound for.
pub struct Ratio {
    /// What is divided by what, or what is measured.
    pub name: &'static str,
    /// What came out.
    pub value: f64,
    /// What it should be.
    pub bound: Bound,
}

/// Which side of the bound is good.
#[derive(Clone, Copy)]
pub enum Bound {
    /// At least.
    AtLeast(f64),
    /// At most.
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        }
    }
}

/// Everything that one run found out.
pub struct Report {
    /// Machine, disk, sizes: one sentence each.
    pub setting: Vec<String>,
    /// Workloads.
    pub rows: Vec<Row>,
    /// Bounds.
    pub ratios: Vec<Ratio>,
}

impl Report {
    /// The report in Markdown, which also reads well in a terminal.
    pub fn to_markdown(&self) -> String {
        let mut text: String = self.setting.iter().map(|sentence| format!("- {sentence}\n")).collect();
        text.push_str("\nOperations a second, and p50 / p99 latency in milliseconds:\n\n");
        let rows = self
            .rows
            .iter()
            .map(|row| [row.workload.clone(), cell(Some(row.elastickv)), cell(row.redis), cell(row.etcd)]);
        text.push_str(&table(["workload", "Elastickv", "Redis", "etcd"], rows));
        text.push_str("\nAgainst the bounds of the design:\n\n");
        let ratios = self.ratios.iter().map(|ratio| {
            let (word, bound) = match ratio.bound {
                Bound::AtLeast(bound) => ("at least", bound),
                Bound::AtMost(bound) => ("at most", bound),
            };
            let verdict = if ratio.bound.holds(ratio.value) { "met" } else { "missed" };
            [ratio.name.to_owned(), format!("{:.2}", ratio.value), format!("{word} {bound}"), verdict.to_owned()]
        });
        text.push_str(&table(["measure", "found", "wanted", ""], ratios));
        text
    }
}

fn cell(figure: Option<Figure>) -> String {
    figure.map_or_else(|| "–".to_owned(), |it| format!("{:.0} ({:.2} / {:.2})", it.rate, it.p50_ms, it.p99_ms))
}

fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len(), 3]).max().unwrap_or(3)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>();
        format!("| {} |\n", padded.join(" | "))
    };
    let rule: [String; N] = widths.map(|width| "-".repeat(width));
    let mut text = line(header);
    text.push_str(&line(rule.each_ref().map(String::as_str)));
    rows.iter().for_each(|row| text.push_str(&line(row.each_ref().map(String::as_str))));
    text
}

const BEGIN: &str = "<!-- figures: begin -->\n";
const END: &str = "<!-- figures: end -->";

/// Puts `figures` between the marks of `document`; none when the marks are missing.
pub fn replace_figures(document: &str, figures: &str) -> Option<String> {
    let begin = document.find(BEGIN)? + BEGIN.len();
    let end = begin + document[begin..].find(END)?;
    Some(format!("{}\n{figures}\n{}", &document[..begin], &document[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_was_met() {
        let figure = Figure { rate: 1234.4, p50_ms: 0.5, p99_ms: 2.25 };
        let report = Report {
            setting: vec!["two cores".into()],
            rows: vec![Row { workload: "SET".into(), elastickv: figure, redis: None, etcd: Some(figure) }],
            ratios: vec![
                Ratio { name: "SET / put", value: 4.2, bound: Bound::AtLeast(4.0) },
                Ratio { name: "p50", value: 1.6, bound: Bound::AtMost(1.5) },
            ],
        };
        let text = report.to_markdown();
        assert!(text.contains("| SET      | 1234 (0.50 / 2.25) | –     | 1234 (0.50 / 2.25) |"), "{text}");
        assert!(text.contains("| SET / put | 4.20  | at least 4  | met    |"), "{text}");
        assert!(text.contains("| p50       | 1.60  | at most 1.5 | missed |"), "{text}");
    }

    #[test]
    fn figures_go_between_the_marks() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let renewed = replace_figures(&document, "new");
        assert_eq!(renewed, Some(format!("before\n{BEGIN}\nnew\n{END}\nafter\n")));
        assert_eq!(replace_figures("no marks", "new"), None);
    }
}
