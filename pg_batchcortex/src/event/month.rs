//! Days and months in UTC: a record's partition is that of the month in which it was recorded.

const DAY: i64 = 86_400_000_000;
/// Days from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;

/// Year and month of a time in microseconds since 2000-01-01 UTC.
pub fn month_of(microseconds: i64) -> (i64, i64) {
    let (year, month, _) = civil(microseconds.div_euclid(DAY));
    (year, month)
}

/// First microsecond of a month, and of the next.
pub fn bounds(year: i64, month: i64) -> (i64, i64) {
    let first = |year: i64, month: i64| (days_from_civil(year, month) - EPOCH_DAYS) * DAY;
    let next = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    (first(year, month), first(next.0, next.1))
}

/// A time so many months later, in the same day of the month or its last, as PostgreSQL adds an interval.
pub fn later(microseconds: i64, months: i64) -> i64 {
    let (year, month) = month_of(microseconds);
    let into = microseconds - bounds(year, month).0;
    let (first, next) = {
        let count = year * 12 + month - 1 + months;
        bounds(count.div_euclid(12), count.rem_euclid(12) + 1)
    };
    first + into.div_euclid(DAY).min((next - first) / DAY - 1) * DAY + into.rem_euclid(DAY)
}

/// Year, month and day of a day counted from 2000-01-01, in the proleptic Gregorian calendar, where the year before 1 is 0.
pub fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + EPOCH_DAYS + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The first day of a month, counted from 1970-01-01.
fn days_from_civil(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
