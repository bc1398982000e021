//! What the API declares of single fields: required, length, pattern, enumeration, bounds.
//!
//! AWS checks all of them before anything else and reports every violation in one ValidationException.

use super::fault::Fault;

/// Gathers violations.
#[derive(Debug, Default)]
pub(super) struct Constraints {
    violations: Vec<String>,
}

impl Constraints {
    /// Whether nothing is wrong with the request's fields.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let count = self.violations.len();
        let errors = if count == 1 { "error" } else { "errors" };
        match count {
            0 => Ok(()),
            _ => {
                Err(Fault::validation(format!("{count} validation {errors} detected: {}", self.violations.join("; "))))
            }
        }
    }

    fn violated(&mut self, value: &str, field: &str, rule: &str) {
        let value = if value == "null" { value.to_owned() } else { format!("'{value}'") };
        self.violations.push(format!("Value {value} at '{field}' failed to satisfy constraint: Member must {rule}"));
    }

    /// The field must be there.
    pub(super) fn required<T>(&mut self, field: &str, value: &Option<T>) {
        if value.is_none() {
            self.violated("null", field, "not be null");
        }
    }

    /// The field must be there and a table name.
    pub(super) fn table_name(&mut self, field: &str, name: &Option<String>) {
        self.required(field, name);
        self.optional_table_name(field, name);
    }

    /// The field must be a table name where it is there.
    pub(super) fn optional_table_name(&mut self, field: &str, name: &Option<String>) {
        let Some(name) = name else { return };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) || name.is_empty() {
            self.violated(name, field, "satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
        }
        self.length(field, name, 3, 255);
    }

    /// The text must have this many characters.
    pub(super) fn length(&mut self, field: &str, text: &str, min: usize, max: usize) {
        let characters = text.chars().count();
        if characters < min {
            self.violated(text, field, &format!("have length greater than or equal to {min}"));
        }
        if characters > max {
            self.violated(text, field, &format!("have length less than or equal to {max}"));
        }
    }

    /// The list must have this many elements.
    pub(super) fn count(&mut self, field: &str, elements: usize, min: usize, max: usize) {
        // AWS prints the whole list here; its length says as much.
        let value = format!("{elements} elements");
        if elements < min {
            self.violated(&value, field, &format!("have length greater than or equal to {min}"));
        }
        if elements > max {
            self.violated(&value, field, &format!("have length less than or equal to {max}"));
        }
    }

    /// The number must lie between these bounds.
    pub(super) fn bounds(&mut self, field: &str, value: Option<i64>, min: i64, max: i64) {
        let Some(value) = value else { return };
        if value < min {
            self.violated(&value.to_string(), field, &format!("have value greater than or equal to {min}"));
        }
        if value > max {
            self.violated(&value.to_string(), field, &format!("have value less than or equal to {max}"));
        }
    }

    /// The text must be one of these where it is there.
    pub(super) fn choice(&mut self, field: &str, value: &Option<String>, choices: &[&str]) {
        let Some(value) = value else { return };
        if !choices.contains(&value.as_str()) {
            self.violated(value, field, &format!("satisfy enum value set: [{}]", choices.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(check: impl FnOnce(&mut Constraints)) -> Option<String> {
        let mut constraints = Constraints::default();
        check(&mut constraints);
        constraints.finish().err().map(|fault| fault.message)
    }

    #[test]
    fn table_names() {
        let name = |name: &str| message(|constraints| constraints.table_name("tableName", &Some(name.into())));
        assert_eq!(name("a.b-c_D9"), None);
        assert_eq!(name(&"a".repeat(255)), None);
        let expected = "1 validation error detected: Value 'ab' at 'tableName' failed to satisfy constraint: Member \
                        must have length greater than or equal to 3";
        assert_eq!(name("ab").as_deref(), Some(expected));
        assert!(name(&"a".repeat(256)).is_some_and(|text| text.contains("less than or equal to 255")));
        assert!(name("ab$").is_some_and(|text| text.contains("regular expression pattern: [a-zA-Z0-9_.-]+")));
        assert!(name("").is_some_and(|text| text.starts_with("2 validation errors detected: ")));
        let missing = message(|constraints| constraints.table_name("tableName", &None));
        assert!(missing.is_some_and(|text| text.contains("Value null at 'tableName'")));
    }

    #[test]
    fn every_violation_is_reported() {
        let all = message(|constraints| {
            constraints.bounds("limit", Some(0), 1, 100);
            constraints.choice("mode", &Some("X".into()), &["A", "B"]);
            constraints.count("list", 3, 1, 2);
        });
        let expected = "3 validation errors detected: \
            Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1; \
            Value 'X' at 'mode' failed to satisfy constraint: Member must satisfy enum value set: [A, B]; \
            Value '3 elements' at 'list' failed to satisfy constraint: Member must have length less than or equal to 2";
        assert_eq!(all.as_deref(), Some(expected));
    }
}
