//! `config.healthcheck`.

use super::content::number;
use super::{Decoder, Fields, items, scalar};
use crate::spec::model::{HealthTest, HealthcheckSpec};
use crate::spec::problem::Problem;
use crate::spec::schema::table;
use crate::spec::shape::clip;
use crate::spec::yaml::{Node, Value};

impl Decoder<'_> {
    pub(super) fn healthcheck(&mut self, node: &Node) -> Option<HealthcheckSpec> {
        if matches!(node.value, Value::Scalar(_)) {
            return Some(HealthcheckSpec::Off);
        }
        let fields = Fields::of(node, &table::HEALTHCHECK)?;
        let test = fields.get("test").and_then(|node| match &node.value {
            Value::Scalar(_) => self.template(node).map(HealthTest::Shell),
            _ => Some(HealthTest::Program(items(node).iter().filter_map(|node| self.template(node)).collect())),
        });
        let interval = self.duration(fields.get("interval"));
        let timeout = self.duration(fields.get("timeout"));
        let start_period = self.duration(fields.get("start-period"));
        let start_interval = self.duration(fields.get("start-interval"));
        let retries = fields.get("retries").and_then(number);
        Some(HealthcheckSpec::Check { test: test?, interval, timeout, start_period, start_interval, retries })
    }

    pub(super) fn duration(&mut self, node: Option<&Node>) -> Option<i64> {
        let node = node?;
        let text = &scalar(node)?.text;
        match nanoseconds(text) {
            // Docker's own limits: shorter ones make it refuse the container.
            Ok(0) | Ok(1_000_000..) => nanoseconds(text).ok(),
            Ok(_) => {
                self.problem(Problem::Duration { found: clip(text), reason: "it is under a millisecond" }, node.place);
                None
            }
            Err(reason) => {
                self.problem(Problem::Duration { found: clip(text), reason }, node.place);
                None
            }
        }
    }
}

/// Reads a duration as Docker and Go write it: numbers, each with its unit.
fn nanoseconds(text: &str) -> Result<i64, &'static str> {
    const UNITS: [(&str, u64); 6] = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err("it is empty");
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 =
            rest[..digits].parse().map_err(|_| "it does not begin with a number, or with one too long")?;
        let after = &rest[digits..];
        let length = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (_, unit) =
            UNITS.iter().find(|(name, _)| *name == &after[..length]).ok_or("its unit is not h, m, s, ms, us or ns")?;
        total = number.checked_mul(*unit).and_then(|it| total.checked_add(it)).ok_or("it is too long")?;
        rest = &after[length..];
    }
    i64::try_from(total).map_err(|_| "it is too long")
}

#[cfg(test)]
mod tests {
    use super::nanoseconds;

    #[test]
    fn durations_are_those_of_docker() {
        assert_eq!(nanoseconds("30s"), Ok(30_000_000_000));
        assert_eq!(nanoseconds("1m30s"), Ok(90_000_000_000));
        assert_eq!(nanoseconds("500ms"), Ok(500_000_000));
        assert_eq!(nanoseconds("0s"), Ok(0));
        for bad in ["", "30", "s", "1d", "-1s", "1.5s", "999999999999h", "1 s"] {
            assert!(nanoseconds(bad).is_err(), "{bad}");
        }
    }
}
