//! How long what is sent travels.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::config::LatencyConfig;

/// One direction of a connection: a delay, a part that differs, and the order kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    delay_ns: i64,
    jitter_ns: u64,
    key: u64,
    /// When the last one arrives: nothing overtakes it.
    last_ns: i64,
}

impl Line {
    /// Requests to the exchange.
    pub(super) fn entry(config: &LatencyConfig) -> Self {
        Self::new(config.entry_us, config, 0)
    }

    /// Reports to the owner.
    pub(super) fn response(config: &LatencyConfig) -> Self {
        Self::new(config.response_us, config, 1)
    }

    fn new(delay_us: u64, config: &LatencyConfig, direction: u64) -> Self {
        // Microseconds are at most a minute, as the configuration was checked.
        let ns = |us: u64| us.saturating_mul(1_000).min(i64::MAX as u64);
        let key = config.jitter_key.rotate_left(1) ^ direction;
        Self { delay_ns: ns(delay_us) as i64, jitter_ns: ns(config.jitter_us), key, last_ns: i64::MIN }
    }

    /// When something sent at `now_ns` arrives; `request_id` and `part` name it.
    pub(super) fn arrives(&mut self, now_ns: i64, request_id: u64, part: u64) -> i64 {
        let jitter = if self.jitter_ns == 0 {
            0
        } else {
            xxh3_64_with_seed(bytemuck::bytes_of(&[request_id, part]), self.key) % (self.jitter_ns + 1)
        };
        let due = now_ns.saturating_add(self.delay_ns).saturating_add(jitter as i64);
        self.last_ns = self.last_ns.max(due);
        self.last_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(jitter_us: u64, jitter_key: u64) -> LatencyConfig {
        LatencyConfig { entry_us: 100, response_us: 200, jitter_us, jitter_key }
    }

    #[test]
    fn without_jitter_it_is_the_delay() {
        let (mut entry, mut response) = (Line::entry(&config(0, 9)), Line::response(&config(0, 9)));
        assert_eq!((entry.arrives(5, 1, 0), response.arrives(5, 1, 0)), (100_005, 200_005));
    }

    #[test]
    fn jitter_is_keyed_bounded_and_keeps_the_order() {
        let times = |key| {
            let mut line = Line::entry(&config(50, key));
            (0..200).map(|id| line.arrives(id * 1_000_000, id as u64, 0) - id * 1_000_000).collect::<Vec<_>>()
        };
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
        assert!(times(1).iter().all(|ns| (100_000..=150_000).contains(ns)));
        assert!(times(1).iter().max() > times(1).iter().min());
        let mut line = Line::entry(&config(50, 3));
        let arrivals: Vec<_> = (0..200).map(|id| line.arrives(id, id as u64, 0)).collect();
        assert!(arrivals.is_sorted());
    }

    #[test]
    fn the_end_of_time_is_no_overflow() {
        assert_eq!(Line::entry(&config(50, 3)).arrives(i64::MAX - 1, 1, 0), i64::MAX);
    }
}
