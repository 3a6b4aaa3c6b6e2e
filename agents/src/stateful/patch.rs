//! What is different between two JSON values.

use std::collections::BTreeMap;

use callboard_broker::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A difference, shaped like the values: what is not named stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Patch {
    /// Another value in its place.
    Put(Value),
    /// An object with changed and removed fields.
    Object {
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        set: BTreeMap<String, Patch>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gone: Vec<String>,
    },
    /// An array of another length or with changed elements.
    Array {
        length: usize,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        set: BTreeMap<usize, Patch>,
    },
}

impl Patch {
    /// What makes `to` of `from`; none when they are equal.
    pub(super) fn between(from: &Value, to: &Value) -> Option<Self> {
        match (from, to) {
            _ if from == to => None,
            (Value::Object(from), Value::Object(to)) => {
                let changed = |(key, value): (&String, &Value)| {
                    let patch = from.get(key).map_or_else(|| put(value), |old| Self::between(old, value));
                    Some((key.clone(), patch?))
                };
                let set = to.iter().filter_map(changed).collect();
                Some(Self::Object { set, gone: from.keys().filter(|key| !to.contains_key(*key)).cloned().collect() })
            }
            (Value::Array(from), Value::Array(to)) => {
                let changed = |(place, value): (usize, &Value)| {
                    let patch = from.get(place).map_or_else(|| put(value), |old| Self::between(old, value));
                    Some((place, patch?))
                };
                Some(Self::Array { length: to.len(), set: to.iter().enumerate().filter_map(changed).collect() })
            }
            _ => put(to),
        }
    }

    /// Makes the change.
    ///
    /// # Errors
    /// `Decode` when it was made for another value.
    pub(super) fn apply(self, to: &mut Value) -> Result<()> {
        match (self, to) {
            (Self::Put(value), to) => *to = value,
            (Self::Object { set, gone }, Value::Object(to)) => {
                gone.iter().for_each(|key| drop(to.remove(key)));
                for (key, patch) in set {
                    patch.apply(to.entry(key).or_insert(Value::Null))?;
                }
            }
            (Self::Array { length, set }, Value::Array(to)) => {
                to.truncate(length);
                for (place, patch) in set {
                    if place == to.len() {
                        to.push(Value::Null);
                    }
                    patch.apply(to.get_mut(place).ok_or_else(misfit)?)?;
                }
            }
            _ => return Err(misfit()),
        }
        Ok(())
    }
}

fn put(value: &Value) -> Option<Patch> {
    Some(Patch::Put(value.clone()))
}

fn misfit() -> Error {
    Error::decode("a stored change of a state does not fit the state it was made for")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..5_i64).prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_difference_makes_one_of_the_other_also_when_it_was_stored(from in value(), to in value()) {
            let patch = Patch::between(&from, &to);
            prop_assert_eq!(patch.is_none(), from == to);
            let mut made = from;
            if let Some(patch) = patch {
                let stored = serde_json::to_string(&patch).unwrap();
                serde_json::from_str::<Patch>(&stored).unwrap().apply(&mut made).unwrap();
            }
            prop_assert_eq!(made, to);
        }
    }

    #[test]
    fn a_small_change_of_a_large_value_is_small() {
        let from = json!({ "rows": vec!["x".repeat(100); 100], "next": 1 });
        let mut to = from.clone();
        to["rows"].as_array_mut().unwrap().push(json!("y"));
        to["next"] = json!(2);
        let patch = serde_json::to_string(&Patch::between(&from, &to)).unwrap();
        assert!(patch.len() < 100, "{patch}");
    }

    #[test]
    fn a_difference_of_something_else_is_refused() {
        let patch = Patch::between(&json!([1, 2]), &json!([1, 2, 3])).unwrap();
        assert!(patch.clone().apply(&mut json!({})).is_err());
        assert!(patch.apply(&mut json!([1])).is_err());
    }
}
