//! Consumed capacity: what AWS would charge for an operation.
//!
//! Source: AWS Developer Guide, "DynamoDB read and write operations": a read counts 4 KB steps of the item, half of them
//! when it may be eventually consistent; a write counts 1 KB steps of the larger of the item before and after.

use aws_smithy_json::serialize::{JsonObjectWriter, JsonValueWriter};
use aws_smithy_types::Number;

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
    pub(super) fn write(self, reply: &mut JsonObjectWriter<'_>, table: &str, units: f64) {
        if !self.wanted() {
            return;
        }
        self.write_element(reply.key("ConsumedCapacity"), table, units);
    }

    /// Adds the member `ConsumedCapacity` to a reply about several tables.
    pub(super) fn write_tables(self, reply: &mut JsonObjectWriter<'_>, tables: &[(String, f64)]) {
        if self.wanted() {
            let mut array = reply.key("ConsumedCapacity").start_array();
            tables.iter().for_each(|(table, units)| self.write_element(array.value(), table, *units));
            array.finish();
        }
    }

    fn write_element(self, writer: JsonValueWriter<'_>, table: &str, units: f64) {
        let mut object = writer.start_object();
        object.key("TableName").string(table);
        object.key("CapacityUnits").number(Number::Float(units));
        if self == CapacityReport::Indexes {
            let mut of_table = object.key("Table").start_object();
            of_table.key("CapacityUnits").number(Number::Float(units));
            of_table.finish();
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
