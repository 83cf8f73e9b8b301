//! When a request is made again, and after how long.
//!
//! The pause doubles, with jitter, so that a farm of builders does not come back in step; where
//! the server says how long to wait (`Retry-After`), that is what is waited, up to a cap.

use std::time::{Duration, SystemTime};

use backon::BackoffBuilder as _;

use crate::Client;
use crate::config::Retry;
use crate::error::Error;
use crate::notice::Notice;
use crate::reference::Registry;
use crate::transport::response::{is_not_connected, is_refused};

/// Tries where others can be asked instead, or where more would hardly help.
const FEW: u32 = 2;
/// Tries of a registry that refuses connections and has never answered.
const REFUSED: u32 = 3;

/// How often one request or transfer has failed, and how often it may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tries {
    pub(crate) failed: u32,
    most: u32,
}

impl Tries {
    /// As many as the settings allow.
    pub(crate) fn of(client: &Client) -> Self {
        Self { failed: 0, most: client.inner.config.retry.attempts }
    }

    /// One retry, if that many are allowed.
    pub(crate) fn few(client: &Client) -> Self {
        Self::of(client).at_most(FEW)
    }

    fn at_most(self, most: u32) -> Self {
        Self { most: self.most.min(most), ..self }
    }
}

impl Client {
    /// Whether to try again after `error`: waits first, where there have not been enough tries.
    pub(crate) async fn again(&self, registry: &Registry, tries: &mut Tries, error: &Error) -> bool {
        if !error.is_passing() {
            return false;
        }
        // A registry to which no connection was ever made is down, or its name is wrong: the user
        // had better know soon. A refusal comes at once, so that it costs little to look twice for
        // one that is just starting; silence costs the whole time limit. Whoever answered before,
        // or took the connection and dropped it, is there and will come back.
        if let Error::Network { source, .. } = error
            && is_not_connected(source.as_ref())
            && !self.host(registry).is_reached()
        {
            *tries = tries.at_most(if is_refused(source.as_ref()) { REFUSED } else { FEW });
        }
        let retry_after = error.answer().and_then(|answer| answer.retry_after);
        self.pause(registry, tries, retry_after, &crate::error::reason(error)).await
    }

    /// Waits before the next try; false when there have been enough.
    pub(crate) async fn pause(
        &self,
        registry: &Registry,
        tries: &mut Tries,
        retry_after: Option<Duration>,
        reason: &str,
    ) -> bool {
        tries.failed += 1;
        if tries.failed >= tries.most {
            return false;
        }
        let pause = pause(&self.inner.config.retry, tries.failed, retry_after);
        let notice = Notice::Waiting {
            registry: registry.clone(),
            pause,
            asked: retry_after.is_some(),
            reason: reason.to_owned(),
        };
        self.inner.config.notices.send(notice);
        tokio::time::sleep(pause).await;
        true
    }
}

/// The pause before try `attempt` + 1, counting from 1.
fn pause(retry: &Retry, attempt: u32, retry_after: Option<Duration>) -> Duration {
    if let Some(asked) = retry_after {
        return asked.min(retry.retry_after_cap);
    }
    let mut pauses = backon::ExponentialBuilder::default()
        .with_min_delay(retry.first_pause)
        .with_max_delay(retry.longest_pause)
        .with_factor(2.0)
        .without_max_times()
        .with_jitter()
        .build();
    pauses.nth(attempt.saturating_sub(1) as usize).unwrap_or(retry.longest_pause)
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date, taken against `now`.
pub(super) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = parse_http_date(value)?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; the two obsolete forms are not read.
fn parse_http_date(value: &str) -> Option<SystemTime> {
    let (_, rest) = value.split_once(", ")?;
    let mut parts = rest.split(' ');
    let day: i64 = number(parts.next()?, 2)?;
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = parts.next()?;
    let month = months.iter().position(|name| *name == month)? as i64 + 1;
    let year = number(parts.next()?, 4)?;
    let mut clock = parts.next()?.split(':');
    let (hour, minute, second) = (number(clock.next()?, 2)?, number(clock.next()?, 2)?, number(clock.next()?, 2)?);
    if parts.next() != Some("GMT") || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days from civil (Howard Hinnant): years begin in March, so that leap days come last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    let seconds = u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r06_retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |text: &str| parse_retry_after(text, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("99999999999999999999999"), Some(u64::from(u32::MAX)));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Thu, 29 Feb 1996 00:00:00 GMT"), Some(825_552_000 - 784_111_777));
        assert_eq!(seconds("Sun, 06 Nov 1984 08:49:37 GMT"), Some(0), "a date gone by");
        assert_eq!(seconds("Sun, 06 Nov 1994 23:59:60 GMT"), Some(54_623), "a leap second");
        for bad in [
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 23:60:00 GMT",
            "Sun, 06 Nov 1994 23:59:61 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        for bad in ["", "-1", "soon", "1.5", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET", ", "] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn r07_pauses_grow_with_jitter_and_are_capped() {
        let retry = Retry::default();
        for attempt in 1..20 {
            let at_least = retry.first_pause * 2u32.pow(attempt.min(7) - 1);
            let found = pause(&retry, attempt, None);
            assert!(found >= at_least.min(retry.longest_pause), "{attempt}: {found:?}");
            assert!(found <= retry.longest_pause * 2, "{attempt}: {found:?}");
        }
        let different: std::collections::BTreeSet<_> = (0..50).map(|_| pause(&retry, 3, None)).collect();
        assert!(different.len() > 1, "no jitter");
        assert_eq!(pause(&retry, 1, Some(Duration::from_secs(9999))), retry.retry_after_cap);
        assert_eq!(pause(&retry, 9, Some(Duration::from_secs(3))), Duration::from_secs(3));
    }

    proptest::proptest! {
        #[test]
        fn any_retry_after_is_survived(text: String, date in "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
            let _ = parse_retry_after(&text, SystemTime::now());
            let _ = parse_retry_after(&date, SystemTime::now());
        }
    }
}
