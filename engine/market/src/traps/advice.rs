//! Where stops of caught positions could stand. Advice only: the risk engine decides, and it may only tighten.

use tidegate_wire::Price;
use tidegate_wire::order::Side;
use tidegate_wire::position::PositionBody;
use tidegate_wire::trap::{TrapBody, TrapPattern};

use super::history::Moment;
use super::labels::{Rule, UNDONE};

/// Least distance of a stop or a target from the mid, units.
const ROOM: f64 = 0.25;
/// How far in front of the extreme a target stands, part of the excursion.
const SHORT_OF_EXTREME: f64 = 0.1;

/// Writes what is advised for an open position of the lured side into `body`.
///
/// The stop stands where the trap would be complete (a break failed, a spike or a sweep undone, layers passed) or as
/// near as `ROOM` allows where the price is there already; the target short of the extreme, which a trap does not
/// reach again. Neither is ever looser than what the position has.
pub(super) fn advise(body: &mut TrapBody, position: &PositionBody, rule: &Rule, moment: &Moment, tick: f64) {
    let candidate = rule.candidate();
    let direction = candidate.direction();
    let room = (ROOM * candidate.unit).max(moment.spread);
    let complete = match candidate.pattern {
        TrapPattern::BullTrap | TrapPattern::BearTrap => rule.failed_at(),
        TrapPattern::Layering => candidate.level - direction * ROOM * candidate.unit,
        _ => rule.extreme - UNDONE * (rule.extreme - candidate.origin),
    };
    // For a long: the lower of the two; for a short: the higher.
    let near = moment.mid - direction * room;
    let stop = if direction * (complete - near) < 0.0 { complete } else { near };
    let short = rule.extreme - SHORT_OF_EXTREME * (rule.extreme - candidate.origin);
    let far = moment.mid + direction * room;
    let take = if direction * (short - far) > 0.0 { short } else { far };
    // Rounded away from the mid for the stop, towards it for the target: an order off the grid is refused.
    let grid = |price: f64, down: bool| {
        let ticks = if down { (price / tick).floor() } else { (price / tick).ceil() };
        Price::from_raw((ticks * tick) as i64)
    };
    let long = candidate.lure == Side::Buy;
    let (stop, take) = (grid(stop, long), grid(take, long));
    let tighter =
        |new: Price, old: Option<Price>, above: bool| old.is_none_or(|old| if above { new > old } else { new < old });
    if tighter(stop, position.stop_loss(), long) {
        (body.stop_loss, body.known) = (stop, body.known | TrapBody::KNOWN_STOP);
    }
    if tighter(take, position.take_profit(), !long) {
        (body.take_profit, body.known) = (take, body.known | TrapBody::KNOWN_TAKE);
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use tidegate_wire::Qty;

    use super::super::labels::{Candidate, LAYERS, Layer};
    use super::*;

    /// What is advised at a mid to a short that followed a break below 1,000 down to 960, unit 20, tick 5.
    fn short(mid: f64, position: &PositionBody) -> TrapBody {
        let candidate = Candidate {
            pattern: TrapPattern::BearTrap,
            lure: Side::Sell,
            start_ns: 0,
            level: 1_000.0,
            origin: 1_000.0,
            swing: 1_000.0,
            unit: 20.0,
            rate: 1.0,
            resting: 0.0,
            levels: 0,
            depth: 1.0,
            thrust: 1.0,
            speed: 0.0,
            shift: 0.0,
            layers: [Layer::default(); LAYERS],
        };
        let moment = |mid| Moment { mid, high: mid, low: mid, spread: 2.0, ..Moment::default() };
        let rule = Rule::new(candidate, &moment(960.0));
        let mut body = TrapBody::zeroed();
        advise(&mut body, position, &rule, &moment(mid), 5.0);
        body
    }

    #[test]
    fn a_short_is_advised_on_the_grid_around_the_price_and_never_looser() {
        let mut position = PositionBody::new(Side::Sell, Qty::from_raw(1), Price::from_raw(970));
        let prices = |body: &TrapBody| (body.stop_loss().map(Price::raw), body.take_profit().map(Price::raw));
        // Failed at 1,010; the target a tenth short of 960, on the grid towards the price.
        assert_eq!(prices(&short(980.0, &position)), (Some(1_010), Some(965)));
        // The price is beyond both: room for it is kept, a quarter of a unit.
        assert_eq!(prices(&short(1_020.0, &position)), (Some(1_025), Some(965)));
        assert_eq!(prices(&short(963.0, &position)), (Some(1_010), Some(960)));
        position.known = PositionBody::KNOWN_STOP | PositionBody::KNOWN_TAKE;
        (position.stop_loss, position.take_profit) = (Price::from_raw(1_000), Price::from_raw(900));
        assert_eq!(prices(&short(980.0, &position)), (None, Some(965)), "the stop is tighter already");
        (position.stop_loss, position.take_profit) = (Price::from_raw(1_100), Price::from_raw(965));
        assert_eq!(prices(&short(980.0, &position)), (Some(1_010), None), "the target is nearer already");
    }
}
