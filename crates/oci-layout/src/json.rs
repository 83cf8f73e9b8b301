//! Strict reading and stable writing of JSON documents.
//!
//! `serde_json` keeps the last of two equal keys in maps; two readers of one document could then
//! see different images. Everything that came from outside goes through [`parse`] (row R40).

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Reads a document; fails on duplicate keys, trailing bytes and more than 128 levels.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    UniqueKeys.deserialize(&mut deserializer)?;
    deserializer.end()?;
    serde_json::from_slice(bytes)
}

/// Writes a document as its bytes go into blobs: compact, in the types' own order of keys.
pub fn to_bytes<T: Serialize>(document: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(document)
}

/// For lists and maps that Go writes as `null` when they are empty.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Walks a document and keeps nothing of it.
#[derive(Clone, Copy)]
struct UniqueKeys;

impl<'de> DeserializeSeed<'de> for UniqueKeys {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            entries.next_value_seed(self)?;
            if let Some(twice) = seen.replace(key) {
                let shown: String = twice.chars().take(64).collect();
                return Err(serde::de::Error::custom(format_args!("key {shown:?} appears twice")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn r40_duplicate_keys_depth_and_surplus_are_errors() {
        assert!(parse::<Value>(br#"{"a": 1, "b": {"c": [null, true, 1.5, -1, "x"]}}"#).is_ok());
        for bad in [&br#"{"a": 1, "a": 2}"#[..], br#"{"x": [{"b": 1, "b": 1}]}"#, b"{} {}", b"", b"{", b"\xff"] {
            assert!(parse::<Value>(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(parse::<Value>("[".repeat(100_000).as_bytes()).is_err());
    }
}
