//! What a command answers: once as JSON, once as rows.

use comfy_table::{Table, presets};
use serde_json::Value;

/// An answer in both forms.
pub struct Answer {
    json: Value,
    lines: Vec<String>,
}

impl Answer {
    /// A table under one heading a column.
    pub fn table<const N: usize>(
        json: Value,
        headings: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Self {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(headings);
        table.add_rows(rows);
        Self { json, lines: vec![table.to_string()] }
    }

    /// One sentence or value.
    pub fn line(json: Value, line: impl Into<String>) -> Self {
        Self { json, lines: vec![line.into()] }
    }

    /// A line below what is there already. Not in the JSON.
    pub fn with_line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// On standard output.
    pub fn print(&self, as_json: bool) {
        if as_json {
            println!("{:#}", self.json);
        } else {
            self.lines.iter().for_each(|line| println!("{line}"));
        }
    }
}
