//! One axis of a sweep as people write it: a value, or a list of values.

use alloc::{format, string::String, vec, vec::Vec};

use spillway_manifest::size;
use toml::Value;

use crate::Invalid;

/// Reads one value; what would be right otherwise.
type Read<T> = fn(&Value) -> Option<T>;

/// The values of a key; the default if it is not there.
pub fn values<T: Copy>(
    key: &str,
    found: Option<&Value>,
    default: &[T],
    read: Read<T>,
    right: &str,
) -> Result<Vec<T>, Invalid> {
    let list = match found {
        None => return Ok(default.to_vec()),
        Some(Value::Array(list)) => list.clone(),
        Some(single) => vec![single.clone()],
    };
    if list.is_empty() {
        return Err(Invalid(format!(
            "`{key}` is an empty list; write {right}, or leave the key out"
        )));
    }
    let value = |value: &Value| {
        read(value).ok_or_else(|| Invalid(format!("`{key}` is {value}; write {right}")))
    };
    list.iter().map(value).collect()
}

/// A value with a name.
macro_rules! named {
    ($key:literal, $found:expr, $axis:ty, $default:expr) => {{
        let names: Vec<_> = <$axis>::ALL.iter().map(|value| value.name()).collect();
        let read = |value: &toml::Value| <$axis>::from_name(value.as_str()?);
        crate::axis::values(
            $key,
            $found.as_ref(),
            $default,
            read,
            &crate::axis::one_of(&names),
        )
    }};
}
pub(crate) use named;

/// `"a", "b" or "c"`.
pub fn one_of(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Whole numbers.
pub fn numbers(key: &str, found: Option<&Value>, default: &[u32]) -> Result<Vec<u32>, Invalid> {
    let read = |value: &Value| u32::try_from(value.as_integer()?).ok();
    values(key, found, default, read, "a whole number such as 32")
}

/// Whole numbers, or nothing.
pub fn optional(key: &str, found: Option<&Value>) -> Result<Vec<Option<u32>>, Invalid> {
    match found {
        None => Ok(vec![None]),
        Some(_) => Ok(numbers(key, found, &[])?.into_iter().map(Some).collect()),
    }
}

/// Sizes in bytes, also with units.
pub fn sizes(key: &str, found: Option<&Value>, default: &[u32]) -> Result<Vec<u32>, Invalid> {
    let read = |value: &Value| match value {
        Value::Integer(bytes) => u32::try_from(*bytes).ok(),
        Value::String(text) => u32::try_from(size::parse(text)?).ok(),
        _ => None,
    };
    values(
        key,
        found,
        default,
        read,
        "a size such as \"4 KiB\" or 4096",
    )
}

/// Yes or no.
pub fn switches(key: &str, found: Option<&Value>, default: &[bool]) -> Result<Vec<bool>, Invalid> {
    values(key, found, default, Value::as_bool, "true or false")
}
