//! Consumed capacity: what AWS would charge for an operation.
//!
//! Source: AWS Developer Guide, "DynamoDB read and write operations": a read counts 4 KB steps of the item, half of them
//! when it may be eventually consistent; a write counts 1 KB steps of the larger of the item before and after. Entries of
//! indexes count as items do: an entry that moves is removed and written.

use aws_smithy_json::serialize::{JsonObjectWriter, JsonValueWriter};
use aws_smithy_types::Number;
use commands::dynamo::Table;

/// Units by index.
type ByIndex = Vec<(String, f64)>;

/// What a request consumed of one table and its indexes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Consumed {
    table_name: String,
    table: f64,
    local: ByIndex,
    global: ByIndex,
}

impl Consumed {
    /// Units of the table alone.
    pub(super) fn of_table(table_name: &str, units: f64) -> Self {
        Self { table_name: table_name.to_owned(), table: units, ..Self::default() }
    }

    /// Units of reading an index.
    pub(super) fn with_index(mut self, table: &Table, index: &str, units: f64) -> Self {
        self.add_index(table, index, units);
        self
    }

    /// Units of a write: the larger of the sizes before and after, of the item and of each entry by its index.
    /// `times`: as often as it is counted.
    pub(super) fn of_write(table: &Table, bytes: usize, entries: &[(String, usize)], times: f64) -> Self {
        let mut consumed = Self::of_table(&table.name, times * write_units(bytes));
        for (index, bytes) in entries {
            consumed.add_index(table, index, times * write_units(*bytes));
        }
        consumed
    }

    fn add_index(&mut self, table: &Table, index: &str, units: f64) {
        let is_local = table.index(index).is_some_and(commands::dynamo::Index::is_local);
        add(if is_local { &mut self.local } else { &mut self.global }, index, units);
    }

    /// Adds up by table, in the order in which tables were first named.
    pub(super) fn by_table(all: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut sums: Vec<Self> = Vec::new();
        for one in all {
            match sums.iter_mut().find(|sum| sum.table_name == one.table_name) {
                None => sums.push(one),
                Some(sum) => {
                    sum.table += one.table;
                    one.local.iter().for_each(|(index, units)| add(&mut sum.local, index, *units));
                    one.global.iter().for_each(|(index, units)| add(&mut sum.global, index, *units));
                }
            }
        }
        sums
    }

    fn total(&self) -> f64 {
        self.table + self.local.iter().chain(&self.global).map(|(_, units)| units).sum::<f64>()
    }
}

fn add(to: &mut ByIndex, index: &str, units: f64) {
    match to.iter_mut().find(|(name, _)| name == index) {
        Some((_, sum)) => *sum += units,
        None => to.push((index.to_owned(), units)),
    }
}

/// What a request wants to know about its costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CapacityReport {
    None,
    Total,
    Indexes,
}

impl CapacityReport {
    /// The values of ReturnConsumedCapacity.
    pub(super) const CHOICES: [&str; 3] = ["INDEXES", "TOTAL", "NONE"];

    pub(super) fn from_name(name: Option<&str>) -> Self {
        match name {
            Some("INDEXES") => CapacityReport::Indexes,
            Some("TOTAL") => CapacityReport::Total,
            _ => CapacityReport::None,
        }
    }

    /// Whether anything has to be reported.
    pub(super) fn wanted(self) -> bool {
        self != CapacityReport::None
    }

    /// Adds the member `ConsumedCapacity` to a reply.
    pub(super) fn write(self, reply: &mut JsonObjectWriter<'_>, consumed: &Consumed) {
        if self.wanted() {
            self.write_element(reply.key("ConsumedCapacity"), consumed);
        }
    }

    /// Adds the member `ConsumedCapacity` to a reply about several tables.
    pub(super) fn write_tables(self, reply: &mut JsonObjectWriter<'_>, tables: &[Consumed]) {
        if self.wanted() {
            let mut array = reply.key("ConsumedCapacity").start_array();
            tables.iter().for_each(|consumed| self.write_element(array.value(), consumed));
            array.finish();
        }
    }

    fn write_element(self, writer: JsonValueWriter<'_>, consumed: &Consumed) {
        let write_units = |writer: JsonValueWriter<'_>, units: f64| {
            let mut object = writer.start_object();
            object.key("CapacityUnits").number(Number::Float(units));
            object.finish();
        };
        let mut object = writer.start_object();
        object.key("TableName").string(&consumed.table_name);
        object.key("CapacityUnits").number(Number::Float(consumed.total()));
        if self == CapacityReport::Indexes {
            write_units(object.key("Table"), consumed.table);
            let kinds = [("LocalSecondaryIndexes", &consumed.local), ("GlobalSecondaryIndexes", &consumed.global)];
            for (member, indexes) in kinds.into_iter().filter(|(_, indexes)| !indexes.is_empty()) {
                let mut by_index = object.key(member).start_object();
                indexes.iter().for_each(|(index, units)| write_units(by_index.key(index), *units));
                by_index.finish();
            }
        }
        object.finish();
    }
}

/// Units of reading an item of this size; 0 bytes when there is none.
pub(super) fn read_units(bytes: usize, consistent: bool) -> f64 {
    const STEP_BYTES: usize = 4096;
    // An item has at most 100 steps: exact in a float.
    let steps = bytes.div_ceil(STEP_BYTES).max(1) as f64;
    if consistent { steps } else { steps / 2.0 }
}

/// Units of writing where the larger of the item before and after has this size.
pub(super) fn write_units(bytes: usize) -> f64 {
    const STEP_BYTES: usize = 1024;
    bytes.div_ceil(STEP_BYTES).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_count_steps() {
        assert_eq!([0, 1, 4096, 4097, 409_600].map(|bytes| read_units(bytes, true)), [1.0, 1.0, 1.0, 2.0, 100.0]);
        assert_eq!(read_units(0, false), 0.5);
        assert_eq!(read_units(4097, false), 1.0);
        assert_eq!([0, 1024, 1025].map(write_units), [1.0, 1.0, 2.0]);
    }
}
