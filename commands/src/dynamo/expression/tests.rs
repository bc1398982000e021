//! Expression by expression: what is said of an item, what becomes of it, which sentence refuses it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::record::{put_condition, put_projection, put_update, read_condition, read_projection, read_update};
use super::*;
use crate::dynamo::fields::Fields;
use crate::dynamo::value::{AttributeValue, Item};

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(text: &str) -> AttributeValue {
    AttributeValue::N(text.parse().unwrap())
}

fn b(bytes: &'static [u8]) -> AttributeValue {
    AttributeValue::B(bytes.into())
}

fn l(values: &[AttributeValue]) -> AttributeValue {
    AttributeValue::L(values.to_vec())
}

fn ss(texts: &[&str]) -> AttributeValue {
    AttributeValue::Ss(texts.iter().map(|text| text.to_string()).collect())
}

fn ns(numbers: &[&str]) -> AttributeValue {
    AttributeValue::Ns(numbers.iter().map(|text| text.parse().unwrap()).collect())
}

fn item(members: &[(&str, AttributeValue)]) -> Item {
    members.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn m(members: &[(&str, AttributeValue)]) -> AttributeValue {
    AttributeValue::M(item(members))
}

/// What every test may name. Values without a use are not looked at here.
fn placeholders() -> Placeholders {
    let names = [("#a", "a"), ("#size", "size"), ("#dot", "x.y"), ("#n", "nested")];
    let names = names.into_iter().map(|(name, attribute)| (name.to_owned(), attribute.to_owned())).collect();
    let values = item(&[
        (":zero", n("0")),
        (":one", n("1")),
        (":two", n("2")),
        (":five", n("5")),
        (":ten", n("10")),
        (":a", s("a")),
        (":abc", s("abc")),
        (":z", s("z")),
        (":empty", s("")),
        (":bytes", b(b"\x01\x02")),
        (":true", AttributeValue::Bool(true)),
        (":null", AttributeValue::Null),
        (":list", l(&[n("1"), s("a")])),
        (":map", m(&[("k", n("1"))])),
        (":ss", ss(&["a", "b"])),
        (":sb", ss(&["b"])),
        (":ns", ns(&["1", "2"])),
        (":S", s("S")),
        (":N", s("N")),
        (":BOOL", s("BOOL")),
        (":X", s("X")),
    ]);
    Placeholders::new(names, values)
}

fn sample() -> Item {
    item(&[
        ("a", n("1")),
        ("b", n("2.0")),
        ("t", s("abcdef")),
        ("u", s("aé𝄞")),
        ("bin", b(b"\x01\x02\x03")),
        ("yes", AttributeValue::Bool(true)),
        ("nil", AttributeValue::Null),
        ("l", l(&[n("1"), s("a"), l(&[n("7")])])),
        ("nested", m(&[("k", n("1")), ("deep", m(&[("x", s("z"))]))])),
        ("tags", ss(&["a", "b"])),
        ("nums", ns(&["1", "2"])),
        ("size", n("3")),
        ("x.y", s("dotted")),
    ])
}

fn condition(text: &str) -> Result<Condition, String> {
    parse_condition(Purpose::Condition, text, &mut placeholders()).map_err(|error| error.to_string())
}

fn holds(text: &str) -> bool {
    condition(text).unwrap_or_else(|error| panic!("{text}: {error}")).holds(&sample())
}

#[test]
fn what_is_true_of_an_item() {
    let all = [
        // Equality: of value and type; numbers by value; sets without order.
        "a = :one",
        "b = :two",
        "a <> :two",
        "a <> :a",
        "tags = :ss",
        "nums = :ns",
        "yes = :true",
        "nil = :null",
        "nested.k = a",
        "#n.k = :one",
        "nested.deep.x = :z",
        "l[0] = :one",
        "l [ 1 ] = :a",
        "l[2][0] <> :one",
        "#dot <> :a",
        // A missing attribute equals nothing.
        "gone <> :one",
        "gone <> nothing",
        "NOT gone = :one",
        "NOT gone = nothing",
        // Order within a type.
        "a < :two",
        "a <= :one",
        ":two > a",
        "b >= :two",
        "t > :a",
        "t < :z",
        "bin > :bytes",
        "NOT a < :a",
        "NOT gone < :one",
        "NOT gone >= :one",
        "a BETWEEN :zero AND :one",
        ":one BETWEEN a AND b",
        "NOT gone BETWEEN :zero AND :ten",
        "a between :zero and :ten and b = :two",
        // Lists of choices.
        "a IN (:ten, :one)",
        "a in (b, nested.k)",
        "NOT a IN (:ten, :a)",
        "NOT gone IN (:one)",
        // Functions.
        "attribute_exists(a)",
        "attribute_exists(nested.deep.x)",
        "attribute_exists(l[2])",
        "attribute_exists(nil)",
        "attribute_not_exists(gone)",
        "attribute_not_exists(l[3])",
        "attribute_not_exists(a.b)",
        "attribute_not_exists(l.k)",
        "attribute_type(t, :S)",
        "attribute_type(a, :N)",
        "attribute_type(yes, :BOOL)",
        "NOT attribute_type(gone, :S)",
        "begins_with(t, :abc)",
        "begins_with(bin, :bytes)",
        "NOT begins_with(t, :z)",
        "NOT begins_with(a, :a)",
        "contains(t, :abc)",
        "contains(t, :empty)",
        "contains(tags, :a)",
        "contains(nums, :two)",
        "contains(l, :a)",
        "contains(bin, :bytes)",
        "NOT contains(tags, :z)",
        "NOT contains(a, :one)",
        "NOT contains(gone, :a)",
        // Sizes.
        "size(t) > :five",
        "size(u) = #size + 0",
        "size(tags) = :two",
        "size(nums) = :two",
        "size(l) = #size",
        "size(nested) = :two",
        "size(bin) > :two",
        "size(:abc) > :two",
        "NOT size(a) = :one",
        "NOT size(gone) >= :zero",
        "size(t) BETWEEN :five AND :ten",
        "size(tags) IN (:one, :two)",
        // Precedence and parentheses.
        "a = :one OR a = :two AND a = :ten",
        "NOT (a = :one AND a = :two)",
        "(a = :two OR a = :one) AND b = :two",
        "NOT a = :two AND NOT b = :one",
        "NOT NOT a = :one",
        "(a) = (:one)",
        "((a = :two) OR (b = :two))",
        "(a = :one)",
        "(size(t)) > :five",
        "(a)BETWEEN(:zero)AND(:one)",
        "attribute_exists((a))",
    ];
    for text in all {
        // One case above is an error that the next test knows; arithmetic is not for conditions.
        if text.contains('+') {
            assert!(condition(text).is_err());
            continue;
        }
        assert!(holds(text), "{text}");
    }
    assert!(condition("size(u) = :x").is_err());
}

#[test]
fn sizes_of_text_count_characters_as_utf16_does() {
    let condition = condition("size(u) BETWEEN :five AND :ten").unwrap();
    assert!(!condition.holds(&sample()));
    assert!(holds("size(u) > :two"));
}

#[test]
fn conditions_that_are_refused() {
    let long = format!("a = :one{}", " OR a = :one".repeat(400));
    let many = "NOT ".repeat(301) + "a = :one";
    let choices = format!("a IN ({}:one)", ":one, ".repeat(100));
    let cases = [
        ("", "The expression can not be empty;"),
        ("  ", "The expression can not be empty;"),
        (&long, "Expression size has exceeded the maximum allowed size; expression size: "),
        (&many, "The expression contains too many operators; operator count: 302"),
        ("a", "Syntax error; token: \"<EOF>\", near: \"a\""),
        ("a = ", "Syntax error; token: \"<EOF>\", near: \"=\""),
        ("= :one", "Syntax error; token: \"=\""),
        ("a == :one", "Syntax error; token: \"=\", near: \"== :one\""),
        ("a = :one b", "Syntax error; token: \"b\", near: \":one b\""),
        ("a = :one AND", "Syntax error; token: \"<EOF>\""),
        ("AND a = :one", "Syntax error; token: \"AND\""),
        ("(a = :one", "Syntax error; token: \"<EOF>\""),
        ("a = :one)", "Syntax error; token: \")\""),
        ("a + :one = :two", "Syntax error; token: \"+\""),
        ("a BETWEEN :one", "Syntax error; token: \"<EOF>\""),
        ("a BETWEEN :one OR :two", "Syntax error; token: \"OR\""),
        ("a IN :one", "Syntax error; token: \":one\""),
        ("a IN ()", "Syntax error; token: \")\""),
        ("a[x] = :one", "Syntax error; token: \"x\""),
        ("a[-1] = :one", "Syntax error; token: \"-\""),
        ("a. = :one", "Syntax error; token: \"=\""),
        ("a = 5", "Syntax error; token: \"5\""),
        ("a = 'x'", "Syntax error; token: \"'\""),
        ("NOT", "Syntax error; token: \"<EOF>\""),
        ("attribute_exists(a", "Syntax error; token: \"<EOF>\""),
        ("attribute_exists()", "Syntax error; token: \")\""),
        ("((a = :one))", "The expression has redundant parentheses;"),
        ("b = :one AND ((a = :one))", "The expression has redundant parentheses;"),
        ("((a)) = :one", "The expression has redundant parentheses;"),
        ("((((((a)))))) = :one", "The expression has redundant parentheses;"),
        ("size = :one", "Attribute name is a reserved keyword; reserved keyword: size"),
        ("a.Name = :one", "Attribute name is a reserved keyword; reserved keyword: Name"),
        ("exists(a)", "Invalid function name; function: exists"),
        ("Attribute_Exists(a)", "Invalid function name; function: Attribute_Exists"),
        ("list_append(a, b)", "Invalid function name; function: list_append"),
        ("size(a)", "The function is not allowed to be used this way in an expression; function: size"),
        ("NOT size(a)", "not allowed to be used this way in an expression; function: size"),
        ("a = contains(b, :a)", "not allowed to be used this way in an expression; function: contains"),
        ("contains(a, contains(b, :a))", "not allowed to be used this way in an expression; function: contains"),
        ("a = :none", "An expression attribute value used in expression is not defined; attribute value: :none"),
        (
            "#none = :one",
            "An expression attribute name used in the document path is not defined; attribute name: #none",
        ),
        ("attribute_exists(a, b)", "operator or function: attribute_exists, number of operands: 2"),
        ("size(a, b) = :one", "operator or function: size, number of operands: 2"),
        ("begins_with(a)", "Incorrect number of operands for operator or function; operator or function: begins_with"),
        (
            "a = a",
            "must be distinct from the remaining operands for this operator or function; operator: =, first operand: [a]",
        ),
        ("contains(l[0].k, l[0].k)", "operator: contains, first operand: [l, [0], k]"),
        (
            "attribute_exists(:one)",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        ("attribute_not_exists(size(a))", "requires a document path; operator or function: attribute_not_exists"),
        ("begins_with(a, :one)", "operator or function: begins_with, operand type: N"),
        ("attribute_type(a, :one)", "operator or function: attribute_type, operand type: N"),
        ("attribute_type(a, b)", "operator or function: attribute_type, operand type: {NS,SS,L"),
        ("attribute_type(a, :X)", "Invalid attribute type name found; type: X, valid types: {B,NULL,SS"),
        ("size(:one) = :one", "operator or function: size, operand type: N"),
        ("size(size(a)) = :one", "operator or function: size, operand type: N"),
        ("a < :true", "operator or function: <, operand type: BOOL"),
        ("a >= :list", "operator or function: >=, operand type: L"),
        (
            "a BETWEEN :two AND :one",
            "requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {N:1}",
        ),
        (
            "a BETWEEN :one AND :abc",
            "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: AttributeValue: {N:1}, upper",
        ),
        (&choices, "The IN operator is provided with too many operands; number of operands: 101"),
        // The order of problems.
        ("size = :none", "reserved keyword: size"),
        ("exists(size)", "Invalid function name; function: exists"),
        ("((size = :none))", "redundant parentheses"),
    ];
    for (text, expected) in cases {
        let refused = condition(text).expect_err(text);
        assert!(refused.starts_with("Invalid ConditionExpression: "), "{refused}");
        assert!(refused.contains(expected), "{text}\nexpected {expected}\n     got {refused}");
    }
}

#[test]
fn no_depth_uses_up_the_stack() {
    let open = format!("{}a = :one{}", "(".repeat(2000), ")".repeat(2000));
    assert!(condition(&open).unwrap_err().contains("redundant parentheses"));
    assert!(condition(&"(".repeat(4096)).unwrap_err().contains("yntax"));
    let deep = format!("{}a = :one{}", "NOT (".repeat(299), ")".repeat(299));
    assert!(condition(&deep).is_ok());
    let sizes = format!("{}a{} = :one", "size(".repeat(299), ")".repeat(299));
    assert!(condition(&sizes).is_err());
    let terms = format!("SET a = {}b{}", "if_not_exists(a,".repeat(200), ",c)".repeat(200));
    assert!(parse_update(&terms, &mut placeholders()).is_err());
    let terms = format!("SET a = {}b{}", "if_not_exists(a,".repeat(200), ")".repeat(200));
    let update = parse_update(&terms, &mut placeholders()).unwrap();
    assert_eq!(update.apply(&sample()).unwrap()["a"], n("1"));
}

fn update(text: &str) -> Result<Item, String> {
    let update = parse_update(text, &mut placeholders()).map_err(|error| error.to_string())?;
    update.apply(&sample()).map_err(|error| error.to_string())
}

#[test]
fn what_becomes_of_an_item() {
    /// An expression, and what it makes of attributes.
    type Case<'c> = (&'c str, &'c [(&'c str, Option<AttributeValue>)]);
    let cases: &[Case<'_>] = &[
        ("SET a = :ten", &[("a", Some(n("10")))]),
        ("set c = :ten, d = :a", &[("c", Some(n("10"))), ("d", Some(s("a")))]),
        ("SET a = a + :one", &[("a", Some(n("2")))]),
        ("SET a = a - :ten", &[("a", Some(n("-9")))]),
        ("SET a = :one+:two", &[("a", Some(n("3")))]),
        ("SET c = a + b", &[("c", Some(n("3")))]),
        ("SET a = b, b = a", &[("a", Some(n("2"))), ("b", Some(n("1")))]),
        ("SET a = (a + :one)", &[("a", Some(n("2")))]),
        ("SET a = (a) + (:one)", &[("a", Some(n("2")))]),
        ("SET a = if_not_exists(a, :ten)", &[("a", Some(n("1")))]),
        ("SET c = if_not_exists(c, :ten)", &[("c", Some(n("10")))]),
        ("SET c = if_not_exists(c, :zero) + :one", &[("c", Some(n("1")))]),
        ("SET c = if_not_exists(c, if_not_exists(d, b))", &[("c", Some(n("2")))]),
        ("SET l = list_append(l, :list)", &[("l", Some(l(&[n("1"), s("a"), l(&[n("7")]), n("1"), s("a")])))]),
        ("SET l = list_append(:list, l)", &[("l", Some(l(&[n("1"), s("a"), n("1"), s("a"), l(&[n("7")])])))]),
        ("SET c = list_append(if_not_exists(c, :list), :list)", &[("c", Some(l(&[n("1"), s("a"), n("1"), s("a")])))]),
        ("SET nested.k = :two", &[("nested", Some(m(&[("k", n("2")), ("deep", m(&[("x", s("z"))]))])))]),
        ("SET #n.deep.y = :a", &[("nested", Some(m(&[("k", n("1")), ("deep", m(&[("x", s("z")), ("y", s("a"))]))])))]),
        ("SET l[0] = :z", &[("l", Some(l(&[s("z"), s("a"), l(&[n("7")])])))]),
        ("SET l[2][0] = :z", &[("l", Some(l(&[n("1"), s("a"), l(&[s("z")])])))]),
        ("SET l[9] = :two, l[7] = :one", &[("l", Some(l(&[n("1"), s("a"), l(&[n("7")]), n("1"), n("2")])))]),
        ("REMOVE a", &[("a", None)]),
        ("REMOVE a, gone, #size", &[("a", None), ("gone", None), ("size", None)]),
        ("REMOVE nested.k", &[("nested", Some(m(&[("deep", m(&[("x", s("z"))]))])))]),
        ("REMOVE nested.gone", &[]),
        ("REMOVE l[0], l[2]", &[("l", Some(l(&[s("a")])))]),
        ("REMOVE l[7]", &[]),
        ("REMOVE l[0] SET l[1] = :z", &[("l", Some(l(&[s("z"), l(&[n("7")])])))]),
        ("ADD a :ten", &[("a", Some(n("11")))]),
        ("ADD c :ten", &[("c", Some(n("10")))]),
        ("ADD nested.k :one", &[("nested", Some(m(&[("k", n("2")), ("deep", m(&[("x", s("z"))]))])))]),
        ("ADD tags :sb, c :ss", &[("c", Some(ss(&["a", "b"])))]),
        ("ADD nums :ns", &[]),
        ("DELETE tags :sb", &[("tags", Some(ss(&["a"])))]),
        ("DELETE tags :ss", &[("tags", None)]),
        ("DELETE gone :ss", &[]),
        (
            "SET c = :one REMOVE b ADD a :one DELETE tags :sb",
            &[("c", Some(n("1"))), ("b", None), ("a", Some(n("2"))), ("tags", Some(ss(&["a"])))],
        ),
    ];
    for (text, changes) in cases {
        let mut expected = sample();
        for (name, value) in *changes {
            match value {
                Some(value) => drop(expected.insert(name.to_string(), value.clone())),
                None => drop(expected.remove(*name)),
            }
        }
        assert_eq!(update(text).as_ref(), Ok(&expected), "{text}");
    }
}

#[test]
fn updates_that_are_refused() {
    let cases = [
        ("", "The expression can not be empty;"),
        ("a = :one", "Syntax error; token: \"a\""),
        ("SET", "Syntax error; token: \"<EOF>\""),
        ("SET a", "Syntax error; token: \"<EOF>\""),
        ("SET a = :one,", "Syntax error; token: \"<EOF>\""),
        ("SET a = :one b = :two", "Syntax error; token: \"b\""),
        ("SET a = :one + :two + :ten", "Syntax error; token: \"+\""),
        ("SET a = (((:one)))", "redundant parentheses"),
        ("REMOVE a = :one", "Syntax error; token: \"=\""),
        ("ADD a b", "Syntax error; token: \"b\""),
        ("DELETE a", "Syntax error; token: \"<EOF>\""),
        ("SET a = :one SET b = :two", "The \"SET\" section can only be used once in an update expression;"),
        ("SET size = :one", "Attribute name is a reserved keyword; reserved keyword: size"),
        ("SET a = size(b)", "Invalid function name; function: size"),
        ("SET a = :none", "An expression attribute value used in expression is not defined; attribute value: :none"),
        ("SET #none = :one", "attribute name: #none"),
        (
            "SET a = :one, a = :two",
            "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a]",
        ),
        (
            "SET a.b = :one REMOVE #a",
            "paths overlap with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a]",
        ),
        (
            "SET a[1] = :one, a.b = :two",
            "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, [1]], path two: [a, b]",
        ),
        ("SET a = list_append(b)", "operator or function: list_append, number of operands: 1"),
        ("SET a = if_not_exists(:one, :two)", "requires a document path; operator or function: if_not_exists"),
        ("SET a = list_append(b, :one)", "operator or function: list_append, operand type: N"),
        (
            "SET a = b + :abc",
            "Incorrect operand type for operator or function; operator or function: +, operand type: S",
        ),
        ("SET a = :true - b", "operator or function: -, operand type: BOOL"),
        ("SET a = b + list_append(l, l)", "operator or function: +, operand type: L"),
        ("ADD a :abc", "Incorrect operand type for operator or function; operator: ADD, operand type: STRING"),
        ("ADD a :list", "operator: ADD, operand type: LIST"),
        ("DELETE a :one", "operator: DELETE, operand type: NUMBER"),
        ("DELETE a :map", "operator: DELETE, operand type: MAP"),
        ("SET a = gone", "The provided expression refers to an attribute that does not exist in the item"),
        ("SET a = gone + :one", "refers to an attribute that does not exist in the item"),
        ("SET gone.b = :one", "The document path provided in the update expression is invalid for update"),
        ("SET a.b = :one", "document path provided in the update expression is invalid for update"),
        ("SET l.b = :one", "invalid for update"),
        ("SET nested[0] = :one", "invalid for update"),
        ("REMOVE gone.b", "invalid for update"),
        ("REMOVE a[0]", "invalid for update"),
        ("SET c = t + :one", "An operand in the update expression has an incorrect data type"),
        ("SET c = list_append(t, :list)", "An operand in the update expression has an incorrect data type"),
        ("ADD t :one", "incorrect data type"),
        ("ADD tags :ns", "incorrect data type"),
        ("DELETE a :ss", "incorrect data type"),
    ];
    for (text, expected) in cases {
        let refused = update(text).expect_err(text);
        assert!(refused.contains(expected), "{text}\nexpected {expected}\n     got {refused}");
    }
}

#[test]
fn an_item_never_nests_too_deeply() {
    let mut deep = n("1");
    for _ in 0..32 {
        deep = l(&[deep]);
    }
    let item = item(&[("a", deep), ("l", l(&[n("1")]))]);
    let update = parse_update("SET l[0] = a", &mut placeholders()).unwrap();
    assert_eq!(update.apply(&item), Err(UpdateError::TooDeep));
}

#[test]
fn sums_stay_numbers() {
    let item = item(&[("a", n("9e125"))]);
    let update = parse_update("SET a = a + a", &mut placeholders()).unwrap();
    assert!(update.apply(&item).unwrap_err().to_string().contains("overflow"));
}

#[test]
fn projections_keep_the_shape() {
    let project =
        |text: &str| parse_projection(text, &mut placeholders()).map(|projection| projection.apply(&sample()));
    let cases = [
        ("a, t", item(&[("a", n("1")), ("t", s("abcdef"))])),
        ("gone", item(&[])),
        ("#n.k", item(&[("nested", m(&[("k", n("1"))]))])),
        ("nested.deep.x, nested.gone", item(&[("nested", m(&[("deep", m(&[("x", s("z"))]))]))])),
        ("l[2], l[0]", item(&[("l", l(&[n("1"), l(&[n("7")])]))])),
        ("l[2][0], l[9]", item(&[("l", l(&[l(&[n("7")])]))])),
        ("l.k, a.b, a[0]", item(&[])),
        ("#dot", item(&[("x.y", s("dotted"))])),
    ];
    for (text, expected) in cases {
        // Paths of which one expects a map and the other a list are refused.
        if text.contains("a.b, a[0]") {
            continue;
        }
        assert_eq!(project(text), Ok(expected), "{text}");
    }
    let deep = format!("a{}", ".a".repeat(32));
    let refused = [
        ("", "Invalid ProjectionExpression: The expression can not be empty;"),
        ("a,", "Syntax error"),
        ("a b", "Syntax error"),
        ("a, a", "Two document paths overlap"),
        ("a, #a.b", "Two document paths overlap"),
        ("a.b, a[0]", "Two document paths conflict"),
        ("name", "reserved keyword: name"),
        (&deep, "The document path has too many nesting levels; nesting levels: 33"),
    ];
    for (text, expected) in refused {
        let error = project(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn what_is_defined_must_be_used() {
    let names = BTreeMap::from([("#a".to_owned(), "a".to_owned()), ("#b".to_owned(), "b".to_owned())]);
    let mut given = Placeholders::new(names, item(&[(":v", n("1"))]));
    let unused = "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a, #b}";
    assert_eq!(given.unused().unwrap_err(), unused);
    parse_projection("#a, #b", &mut given).unwrap();
    let unused = "Value provided in ExpressionAttributeValues unused in expressions: keys: {:v}";
    assert_eq!(given.unused().unwrap_err(), unused);
    parse_condition(Purpose::Filter, "a = :v", &mut given).unwrap();
    assert_eq!(given.unused(), Ok(()));
}

#[test]
fn key_conditions_name_values_of_attributes() {
    let tests = |text: &str| {
        let condition = parse_condition(Purpose::KeyCondition, text, &mut placeholders())?;
        key_tests(condition)
    };
    let equal = |name: &str, value| (name.to_owned(), KeyTest::Compare(Comparator::Equal, value));
    assert_eq!(tests("a = :one"), Ok(vec![equal("a", n("1"))]));
    assert_eq!(tests(":one = a"), Ok(vec![equal("a", n("1"))]));
    let less = ("b".to_owned(), KeyTest::Compare(Comparator::Less, n("2")));
    assert_eq!(tests("(a = :one) AND (:two > b)"), Ok(vec![equal("a", n("1")), less]));
    let between = ("b".to_owned(), KeyTest::Between(n("1"), n("2")));
    assert_eq!(tests("b BETWEEN :one AND :two AND a = :one"), Ok(vec![between, equal("a", n("1"))]));
    let prefix = ("b".to_owned(), KeyTest::BeginsWith(s("a")));
    assert_eq!(tests("a = :one AND begins_with(b, :a)"), Ok(vec![equal("a", n("1")), prefix]));
    let refused = [
        ("a = :one OR b = :two", "Invalid operator used in KeyConditionExpression: OR"),
        ("NOT a = :one", "Invalid operator used in KeyConditionExpression: NOT"),
        ("a <> :one", "Invalid operator used in KeyConditionExpression: <>"),
        ("a IN (:one)", "Invalid operator used in KeyConditionExpression: IN"),
        ("contains(a, :one)", "Invalid operator used in KeyConditionExpression: contains"),
        ("attribute_exists(a)", "Invalid operator used in KeyConditionExpression: attribute_exists"),
        ("size(a) = :one", "Invalid operator used in KeyConditionExpression: size"),
        ("a.b = :one", "KeyConditionExpressions cannot have conditions on nested attributes"),
        ("a = :one AND a > :two", "KeyConditionExpressions must only contain one condition per key"),
    ];
    for (text, expected) in refused {
        let error = tests(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// Scraps that make an expression now and then.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop::sample::select(vec![
        "a",
        "b",
        "nested.k",
        "l[0]",
        "#n",
        "#none",
        ":one",
        ":abc",
        ":ss",
        ":none",
        "=",
        "<>",
        "<",
        ">=",
        "+",
        "-",
        "(",
        ")",
        "((",
        "))",
        ",",
        ".",
        "[",
        "]",
        "[1]",
        "AND",
        "OR",
        "NOT",
        "BETWEEN",
        "IN",
        "IN (",
        "size(",
        "contains(",
        "begins_with(a,",
        "attribute_exists(a)",
        "if_not_exists(",
        "list_append(",
        "SET",
        "REMOVE",
        "ADD",
        "DELETE",
        "é",
        "#",
        ":",
        "1",
        "a = :one",
        "SET a = :one",
        "REMOVE b",
        "ADD tags :ss",
        "SET c = a",
    ]);
    prop::collection::vec(scrap, 0..14).prop_map(|scraps| scraps.join(" "))
}

/// Conditions that parse.
fn conditions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a = :one",
        "b <> a",
        "size(t) > :two",
        "a IN (:one, b)",
        "t BETWEEN :a AND :z",
        "contains(tags, :a)",
        "attribute_exists(nested.k)",
        "attribute_not_exists(l[1])",
        "begins_with(t, :a)",
        "attribute_type(t, :S)",
    ]);
    let leaf = leaf.prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| format!("NOT ({inner} AND a = :one)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} AND {b}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{a} OR {b}")),
        ]
    })
}

/// A number attribute, if there is one.
fn amount(item: &Item, name: &str) -> Option<i64> {
    match item.get(name)? {
        AttributeValue::N(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

proptest! {
    #[test]
    fn scraps_never_panic_and_what_parses_survives_the_wire(text in scraps()) {
        if let Ok(condition) = parse_condition(Purpose::Condition, &text, &mut placeholders()) {
            let _ = condition.holds(&sample());
            let mut record = vec![1];
            put_condition(&mut record, &condition);
            prop_assert_eq!(read_condition(&mut Fields::of_version(&record, 1).unwrap()), Ok(condition));
        }
        if let Ok(update) = parse_update(&text, &mut placeholders()) {
            let _ = update.apply(&sample());
            let mut record = vec![1];
            put_update(&mut record, &update);
            prop_assert_eq!(read_update(&mut Fields::of_version(&record, 1).unwrap()), Ok(update));
        }
        if let Ok(projection) = parse_projection(&text, &mut placeholders()) {
            let mut record = vec![1];
            put_projection(&mut record, &projection);
            prop_assert_eq!(read_projection(&mut Fields::of_version(&record, 1).unwrap()), Ok(projection));
        }
    }

    #[test]
    fn junk_never_panics(text in "\\PC{0,40}", bytes in prop::collection::vec(0u8..14, 0..64)) {
        let _ = parse_condition(Purpose::Condition, &text, &mut placeholders());
        let _ = parse_update(&text, &mut placeholders());
        let record = [&[1], bytes.as_slice()].concat();
        let _ = read_condition(&mut Fields::of_version(&record, 1).unwrap());
        let _ = read_update(&mut Fields::of_version(&record, 1).unwrap());
    }

    #[test]
    fn trees_survive_the_wire(text in conditions()) {
        let condition = condition(&text).unwrap();
        let mut record = vec![1];
        put_condition(&mut record, &condition);
        let mut fields = Fields::of_version(&record, 1).unwrap();
        let read = read_condition(&mut fields).unwrap();
        prop_assert_eq!(read.holds(&sample()), condition.holds(&sample()));
        prop_assert_eq!(read, condition);
        fields.finish().unwrap();
    }

    #[test]
    fn and_or_and_not_are_those_of_logic(values in prop::collection::vec(any::<bool>(), 3)) {
        let leaf = |truth: bool| if truth { "a = :one" } else { "a = :two" };
        let [a, b, c] = [leaf(values[0]), leaf(values[1]), leaf(values[2])];
        let [x, y, z] = [values[0], values[1], values[2]];
        prop_assert_eq!(holds(&format!("{a} AND {b} OR {c}")), x && y || z);
        prop_assert_eq!(holds(&format!("{a} OR {b} AND {c}")), x || y && z);
        prop_assert_eq!(holds(&format!("({a} OR {b}) AND {c}")), (x || y) && z);
        prop_assert_eq!(holds(&format!("NOT {a} OR {b}")), !x || y);
        prop_assert_eq!(holds(&format!("NOT ({a} OR {b}) AND NOT {c}")), !(x || y || z));
    }

    /// Against integers in variables: all right sides read what was there before.
    #[test]
    fn an_update_is_an_assignment_of_all_at_once(
        start in prop::collection::vec(prop::option::of(-50i64..50), 3),
        actions in prop::collection::vec((0usize..5, 0usize..3, 0usize..3, -9i64..9), 3),
    ) {
        let names = ["x", "y", "w"];
        let given: Item = names.iter().zip(&start).filter_map(|(name, value)| Some((name.to_string(), n(&(*value)?.to_string())))).collect();
        let mut expected: Option<Vec<Option<i64>>> = Some(start.clone());
        let (mut set, mut removed, mut add, mut values) = (Vec::new(), Vec::new(), Vec::new(), Item::new());
        for (target, (kind, first, second, constant)) in actions.iter().enumerate() {
            let value = format!(":v{target}");
            values.insert(value.clone(), n(&constant.to_string()));
            let (a, b) = (start[*first], start[*second]);
            let result = match kind {
                0 => { set.push(format!("{} = {value}", names[target])); Some(Some(*constant)) }
                1 => { set.push(format!("{} = {} + {value}", names[target], names[*first])); a.map(|a| Some(a + constant)) }
                2 => {
                    set.push(format!("{} = if_not_exists({}, {value}) - {}", names[target], names[*first], names[*second]));
                    b.map(|b| Some(a.unwrap_or(*constant) - b))
                }
                3 => { removed.push(names[target].to_owned()); Some(None) }
                _ => { add.push(format!("{} {value}", names[target])); Some(Some(start[target].unwrap_or(0) + constant)) }
            };
            match (&mut expected, result) {
                (Some(values), Some(result)) => values[target] = result,
                _ => expected = None,
            }
        }
        let section = |name: &str, parts: &[String]| if parts.is_empty() { String::new() } else { format!("{name} {} ", parts.join(", ")) };
        let text = section("SET", &set) + &section("REMOVE", &removed) + &section("ADD", &add);
        let update = parse_update(&text, &mut Placeholders::new(BTreeMap::new(), values)).unwrap();
        let updated = update.apply(&given).ok();
        let found = updated.map(|item| names.map(|name| amount(&item, name)).to_vec());
        prop_assert_eq!(found, expected, "{}", text);
    }
}
