//! Webhook endpoints: where events are told to, which of them, and why an endpoint may be told nothing any more.

use std::fmt;

use uuid::Uuid;

use super::Invalid;
use super::audience;
use super::event::EventType;
use super::time::{DAY, HOUR, Timestamp};

const LONGEST_URL: usize = 1_024;
/// Types and patterns that one endpoint may name.
const MOST_PATTERNS: usize = 50;
const EVERYTHING: &str = "*";

/// The secret before a rotation signs besides the new one for so long.
pub const ROTATION: i64 = DAY;
/// An endpoint that brought nothing but failures for so long is disabled.
pub const GIVEN_UP_AFTER: i64 = 5 * DAY;
/// Of one account, and of the operator (those of the configuration besides).
pub const MOST_ENDPOINTS: u32 = 10;
/// The wait after each failed attempt but the last; an attempt follows each.
pub const SCHEDULE_SECONDS: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// A receiver may ask for more patience than the schedule has, up to this.
const LONGEST_WAIT: i64 = 24 * HOUR;

/// Where events are told to.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub id: Uuid,
    pub owner: Owner,
    pub url: WebhookUrl,
    pub events: EventFilter,
    pub created_at: Timestamp,
    /// The first of nothing but failures.
    pub failing_since: Option<Timestamp>,
    /// Both secrets sign until then.
    pub rotating_until: Option<Timestamp>,
    pub disabled: Option<(Timestamp, Disabled)>,
}

/// Whose it is, which decides what it may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Operator,
    /// The operator's, as the configuration has it.
    Configuration,
    Account(Uuid),
    /// Whoever made this order, and for its events only.
    Order(Uuid),
}

/// Why an endpoint is told nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disabled {
    /// It answered 410.
    Gone,
    /// Nothing but failures for [`GIVEN_UP_AFTER`].
    Failing,
    /// Its owner or the operator said so.
    ByHand,
}

/// `https://` or `http://`, at most 1 KiB. Whether it may be called at all, and in the clear, egress decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl(String);

/// The types that an endpoint wants: `order.paid`, all of a kind such as `order.*`, or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter(Vec<String>);

impl Owner {
    /// The word in the database and in lists.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Configuration => "configured",
            Self::Account(_) => "account",
            Self::Order(_) => "callback",
        }
    }

    /// The operator is told everything.
    pub const fn is_operator(self) -> bool {
        matches!(self, Self::Operator | Self::Configuration)
    }

    /// Whether an event of this type is for such an endpoint at all, whatever its filter says.
    pub fn may_see(self, event_type: &str) -> bool {
        match self {
            Self::Operator | Self::Configuration => true,
            Self::Account(_) => audience::owner_sees(event_type),
            Self::Order(_) => audience::callback_sees(event_type),
        }
    }
}

impl Disabled {
    pub const ALL: [Self; 3] = [Self::Gone, Self::Failing, Self::ByHand];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
            Self::ByHand => "by_hand",
        }
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|because| because.name() == text);
        found.ok_or_else(|| Invalid::new("not a reason why a webhook is disabled"))
    }
}

impl WebhookUrl {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_visible = text.len() <= LONGEST_URL && text.bytes().all(|byte| byte.is_ascii_graphic());
        let host = authority(text).filter(|authority| !authority.is_empty() && !authority.contains('@'));
        if is_visible && host.is_some() && !text.contains(['#', '\\']) {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new(format!(
            "a URL is expected that begins with https://, of at most {LONGEST_URL} visible characters, without user, \
             password and #"
        )))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whom it reaches, with the port where it names one: for those who bound how many do at a time.
    pub fn host(&self) -> &str {
        authority(&self.0).unwrap_or_default()
    }
}

/// What stands between the scheme and the path.
fn authority(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    rest.split(['/', '?']).next()
}

impl EventFilter {
    /// No pattern is every pattern.
    ///
    /// # Errors
    /// A type that there is not, or that such an owner never sees: it would wait for it forever.
    pub fn parse(patterns: &[String], owner: Owner) -> Result<Self, Invalid> {
        if patterns.len() > MOST_PATTERNS {
            return Err(Invalid::new(format!("at most {MOST_PATTERNS} types of events are expected")));
        }
        if let Some(unknown) = patterns.iter().find(|pattern| !is_offered(pattern, owner)) {
            let shown: String = unknown.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(Invalid::new(format!(
                "{shown} is no type of event that is told here; name one such as order.paid, all of a kind such as \
                 order.*, or * for everything"
            )));
        }
        Ok(if patterns.is_empty() { Self::everything() } else { Self(patterns.to_vec()) })
    }

    pub fn everything() -> Self {
        Self(vec![EVERYTHING.to_owned()])
    }

    /// As it is stored.
    pub fn from_stored(text: &str) -> Self {
        Self(text.split(',').map(str::to_owned).collect())
    }

    pub fn patterns(&self) -> &[String] {
        &self.0
    }

    pub fn wants(&self, event_type: &str) -> bool {
        self.0.iter().any(|pattern| covers(pattern, event_type))
    }
}

impl fmt::Display for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

fn covers(pattern: &str, event_type: &str) -> bool {
    let of_kind = |kind: &str| event_type.strip_prefix(kind).is_some_and(|rest| rest.starts_with('.'));
    pattern == EVERYTHING || pattern == event_type || pattern.strip_suffix(".*").is_some_and(of_kind)
}

fn is_offered(pattern: &str, owner: Owner) -> bool {
    EventType::ALL.iter().any(|known| owner.may_see(known.name()) && covers(pattern, known.name()))
}

/// When to try again after so many attempts; `chance` is from 0 to 1 and spreads those that failed together.
///
/// None after the last one.
pub fn wait_millis(attempts: i64, retry_after_millis: Option<i64>, chance: f64) -> Option<i64> {
    let index = usize::try_from(attempts.checked_sub(1)?).ok()?;
    let scheduled = SCHEDULE_SECONDS.get(index)? * 1_000;
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a fifth of a day at most")]
    let spread = (scheduled as f64 * 0.2 * chance.clamp(0.0, 1.0)) as i64;
    let asked = retry_after_millis.unwrap_or(0).clamp(0, LONGEST_WAIT);
    Some((scheduled + spread).max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(patterns: &[&str], owner: Owner) -> Result<EventFilter, Invalid> {
        EventFilter::parse(&patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>(), owner)
    }

    #[test]
    fn a_url_is_https_within_its_bounds() {
        let of_length = |length: usize| format!("https://a.example/{}", "p".repeat(length - 18));
        for good in
            ["https://a.example", "https://a.example:8443/hook?x=1", "https://[2001:db8::1]/", "http://127.0.0.1:1/"]
        {
            assert!(WebhookUrl::parse(good).is_ok(), "{good}");
        }
        assert!(WebhookUrl::parse(&of_length(1_024)).is_ok() && WebhookUrl::parse(&of_length(1_025)).is_err());
        for bad in [
            "",
            "a.example/hook",
            "ftp://a.example/",
            "file:///etc/passwd",
            "https://",
            "https://user@a.example/",
            "https://user:secret@a.example/",
            "https://a.example/#part",
            "https://a.example/ü",
            "https://a.example/\r\nHost: b",
            " https://a.example/",
        ] {
            assert!(WebhookUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_filter_names_types_that_its_owner_may_see() {
        let (operator, customer) = (Owner::Operator, Owner::Account(Uuid::nil()));
        assert!(filter(&["server.*", "payment.orphaned"], operator).is_ok());
        for bad in ["server.*", "payment.orphaned", "order.created", "order.pai", "order.", ".*", "", "order.paid,*"] {
            assert!(filter(&[bad], customer).is_err(), "{bad}");
        }
        assert!(filter(&["order.*", "subscription.expiring"], customer).is_ok());
        assert!(filter(&["order.expired"], Owner::Order(Uuid::nil())).is_err(), "nobody paid");
        assert!(filter(&["*"; 50], customer).is_ok() && filter(&["*"; 51], customer).is_err());
    }

    #[test]
    fn it_wants_what_it_names() {
        let some = filter(&["order.*", "claim.ready"], Owner::Operator).unwrap();
        assert!(some.wants("order.paid") && some.wants("claim.ready"));
        assert!(!some.wants("claim.bound") && !some.wants("orders.paid") && !some.wants("order"));
        assert!(filter(&[], Owner::Operator).unwrap().wants("server.drained"));
        assert_eq!(EventFilter::from_stored(&some.to_string()), some);
    }

    #[test]
    fn it_is_tried_ten_times_over_three_days() {
        let waits: Vec<i64> = (1..).map_while(|attempts| wait_millis(attempts, None, 0.0)).collect();
        assert_eq!(waits.len(), 9);
        assert_eq!(waits.iter().sum::<i64>() / HOUR, 75);
        assert_eq!(wait_millis(1, None, 1.0), Some(6_000));
        assert_eq!((wait_millis(0, None, 0.0), wait_millis(10, None, 0.0)), (None, None));
    }

    #[test]
    fn a_receivers_word_is_heeded_within_a_day() {
        assert_eq!(wait_millis(1, Some(60_000), 0.0), Some(60_000));
        assert_eq!(wait_millis(2, Some(1_000), 0.0), Some(300_000), "never sooner than the schedule");
        assert_eq!(wait_millis(1, Some(i64::MAX), 0.0), Some(24 * HOUR));
        assert_eq!(wait_millis(1, Some(-1), 0.0), Some(5_000));
    }
}
