//! The pace of a rollout: so many destinations in a minute, more as they succeed.
//!
//! Always true: in any minute no more are started than the pace of that minute and one second's worth. Thousandths of destinations are counted, so that nothing is lost by rounding.

use atoll_kube::Timestamp;

use super::spec::Rate;
use super::state::RateRun;

impl RateRun {
    /// The pace at the start: the first one may go at once.
    pub fn new(rate: &Rate, now: Timestamp) -> Self {
        let mut run = Self {
            per_minute: u64::from(rate.base_per_minute) * 1000,
            tokens: 0,
            at: now,
            succeeded: 0,
        };
        run.tokens = run.most();
        run
    }

    /// One second's worth, at least one destination.
    fn most(&self) -> u64 {
        (self.per_minute / 60).max(1000)
    }

    /// Counts the time that went by. Answers how many may be started now.
    pub fn refill(&mut self, now: Timestamp) -> u64 {
        let gone = now.since(self.at).as_millis().min(3_600_000) as u64;
        let earned = self.per_minute * gone / 60_000;
        if earned > 0 {
            self.tokens += earned;
            // Only the time that was paid for: the rest counts next time.
            let paid = (earned * 60_000).div_ceil(self.per_minute.max(1));
            self.at = Timestamp(self.at.0.saturating_add(paid as i64));
        }
        if self.tokens >= self.most() {
            self.tokens = self.most();
            self.at = self.at.max(now);
        }
        self.tokens / 1000
    }

    /// So many were started.
    pub fn spend(&mut self, started: u64) {
        self.tokens = self.tokens.saturating_sub(started.saturating_mul(1000));
    }

    /// So many succeeded: each time one minute's pace of them has, it grows.
    pub fn grow(&mut self, rate: &Rate, succeeded: u64) {
        self.succeeded += succeeded;
        while self.succeeded.saturating_mul(1000) >= self.per_minute {
            self.succeeded -= self.per_minute / 1000;
            let most = rate.max.map_or(u64::MAX / 2, |max| u64::from(max) * 1000);
            let next = ((self.per_minute as f64 * rate.factor) as u64).min(most);
            if next <= self.per_minute {
                self.succeeded = 0;
                break;
            }
            self.per_minute = next;
        }
    }

    /// When the next one may be started.
    pub fn next(&self) -> Timestamp {
        let missing = 1000u64.saturating_sub(self.tokens);
        let wait = (missing * 60_000).div_ceil(self.per_minute.max(1));
        // In steps of a second where the pace is high: not a wake-up for each destination.
        Timestamp(
            self.at
                .0
                .saturating_add(wait.max(1000.min(wait * 60)) as i64),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_and_grows_with_success() {
        let rate = Rate {
            base_per_minute: 10,
            factor: 2.0,
            max: Some(30),
        };
        let mut run = RateRun::new(&rate, Timestamp(0));
        let mut started = 0;
        for second in 0..60 {
            let n = run.refill(Timestamp(second * 1000));
            run.spend(n);
            started += n;
        }
        assert_eq!(started, 10);
        run.grow(&rate, 9);
        assert_eq!(run.per_minute, 10_000);
        run.grow(&rate, 1);
        assert_eq!(run.per_minute, 20_000);
        run.grow(&rate, 20);
        assert_eq!(run.per_minute, 30_000);
        run.grow(&rate, 1000);
        assert_eq!(run.per_minute, 30_000);
    }

    #[test]
    fn a_clock_that_jumps_gives_no_more_than_a_second() {
        let rate = Rate {
            base_per_minute: 600,
            factor: 1.0,
            max: None,
        };
        let mut run = RateRun::new(&rate, Timestamp(0));
        run.spend(10);
        assert_eq!(run.refill(Timestamp(-5000)), 0);
        assert_eq!(run.refill(Timestamp(86_400_000)), 10);
    }
}
