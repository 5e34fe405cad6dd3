//! A fed-batch fermentation: a small model that makes a recording when there is no recorded batch.
//!
//! Monod growth limited by substrate and oxygen, product formation that excess substrate inhibits
//! (Bajpai and Reuß, 1980), a maintenance demand, an oxygen balance with an agitation cascade, and first-order
//! pH and temperature loops. It is meant to look and move like a fermentation, not to predict one: the
//! parameters are plausible for a penicillin process in a pilot vessel and fitted to nothing.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::recording::{Channel, Recording, Row};

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Length of the batch, hours.
    pub duration_h: f64,
    /// Time between two rows, hours.
    pub step_h: f64,
    /// Seed of the sensor noise: the same seed gives the same batch.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            duration_h: 120.0,
            step_h: 0.2,
            seed: 1,
        }
    }
}

/// Why a batch cannot be modelled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// Not a positive finite time.
    #[error("duration and step must be positive numbers of hours, and the step at most the duration")]
    Time,
    /// A batch that would not fit into memory.
    #[error("the batch would have {rows} rows; at most {MAX_ROWS} are played: take a longer step")]
    TooLong {
        /// Rows asked for.
        rows: u64,
    },
}

/// Most rows of a modelled batch.
pub const MAX_ROWS: u64 = 1_000_000;

// Kinetics
const MU_MAX: f64 = 0.11; // 1/h
const K_SUBSTRATE: f64 = 0.15; // g/L
const K_OXYGEN: f64 = 0.35; // mg/L
const YIELD_BIOMASS: f64 = 0.45; // g biomass a g substrate
const YIELD_PRODUCT: f64 = 0.9; // g product a g substrate
const MAINTENANCE: f64 = 0.014; // g substrate a g biomass and h
const Q_PRODUCT: f64 = 0.005; // g product a g biomass and h
const K_PRODUCT: f64 = 0.0002; // g/L
const K_INHIBITION: f64 = 0.1; // g/L
const PRODUCT_DECAY: f64 = 0.004; // 1/h
// Vessel
const FEED_SUBSTRATE: f64 = 600.0; // g/L
const EVAPORATION: f64 = 0.02; // L/h
const OXYGEN_SATURATION: f64 = 8.2; // mg/L at 298 K in medium under air
const OXYGEN_FOR_GROWTH: f64 = 700.0; // mg oxygen a g biomass
const OXYGEN_FOR_MAINTENANCE: f64 = 14.0; // mg oxygen a g biomass and h
const KLA_REFERENCE: f64 = 120.0; // 1/h at the reference agitation and airflow
const AGITATION_REFERENCE: f64 = 200.0; // 1/min
const AIRFLOW_REFERENCE: f64 = 60.0; // L/min
// Loops
const OXYGEN_SET: f64 = 35.0; // % of saturation
const PH_SET: f64 = 6.5;
const TEMPERATURE_SET: f64 = 298.0; // K
const AGITATION_MIN: f64 = 120.0;
const AGITATION_MAX: f64 = 520.0;

/// The longest step of the integration, hours. Oxygen is the fastest: kLa stays below 1,000/h.
const MAX_INTEGRATION_STEP_H: f64 = 0.0015;

/// Biomass, substrate and product in g/L, volume in L, dissolved oxygen in mg/L, pH, temperature in K,
/// agitation in 1/min.
type State = [f64; 8];

const START: State = [0.6, 14.0, 0.0, 100.0, OXYGEN_SATURATION, 6.5, 298.0, 120.0];

fn feed(time_h: f64) -> f64 {
    // Batch phase, then an exponential ramp to the rate that aeration can carry, L/h.
    match time_h {
        t if t < 28.0 => 0.0,
        t => (0.10 * (0.06 * (t - 28.0)).exp()).min(0.34),
    }
}

fn airflow(time_h: f64) -> f64 {
    match time_h {
        t if t < 12.0 => 45.0,
        t if t < 30.0 => 60.0,
        _ => 80.0,
    }
}

fn derivative(time_h: f64, state: &State) -> State {
    let [
        biomass,
        substrate,
        product,
        volume,
        oxygen,
        ph,
        temperature,
        agitation,
    ] = *state;
    let substrate = substrate.max(0.0);
    let oxygen = oxygen.max(0.0);
    let feed = feed(time_h);
    let dilution = feed / volume;

    let substrate_limit = substrate / (K_SUBSTRATE + substrate);
    let oxygen_limit = oxygen / (K_OXYGEN + oxygen);
    let mu = MU_MAX * substrate_limit * oxygen_limit;
    let q_product =
        Q_PRODUCT * oxygen_limit * substrate / (K_PRODUCT + substrate * (1.0 + substrate / K_INHIBITION));
    let q_substrate = mu / YIELD_BIOMASS + q_product / YIELD_PRODUCT + MAINTENANCE * substrate_limit;
    let oxygen_uptake = (OXYGEN_FOR_GROWTH * mu + OXYGEN_FOR_MAINTENANCE * oxygen_limit) * biomass;
    let kla = KLA_REFERENCE
        * (agitation / AGITATION_REFERENCE).powf(1.8)
        * (airflow(time_h) / AIRFLOW_REFERENCE).powf(0.5);
    let oxygen_percent = 100.0 * oxygen / OXYGEN_SATURATION;
    let agitation_rate = (6.0 * (OXYGEN_SET - oxygen_percent)).clamp(-120.0, 240.0);
    let at_limit = (agitation >= AGITATION_MAX && agitation_rate > 0.0)
        || (agitation <= AGITATION_MIN && agitation_rate < 0.0);

    [
        (mu - dilution) * biomass - 0.002 * biomass,
        dilution * (FEED_SUBSTRATE - substrate) - q_substrate * biomass,
        q_product * biomass - (PRODUCT_DECAY + dilution) * product,
        feed - EVAPORATION,
        kla * (OXYGEN_SATURATION - oxygen) - oxygen_uptake - dilution * oxygen,
        // Growth on ammonia sets protons free; the base pump answers in proportion.
        -0.35 * mu * biomass + 4.0 * (PH_SET - ph),
        // Respiration heats, the jacket cools in proportion.
        0.0011 * oxygen_uptake - 3.0 * (temperature - TEMPERATURE_SET),
        if at_limit { 0.0 } else { agitation_rate },
    ]
}

/// One step of the classical fourth-order Runge-Kutta method.
fn integrate(time_h: f64, state: &State, step: f64) -> State {
    let along = |slope: &State, by: f64| std::array::from_fn(|i| state[i] + by * slope[i]);
    let k1 = derivative(time_h, state);
    let k2 = derivative(time_h + step / 2.0, &along(&k1, step / 2.0));
    let k3 = derivative(time_h + step / 2.0, &along(&k2, step / 2.0));
    let k4 = derivative(time_h + step, &along(&k3, step));
    let mut next: State =
        std::array::from_fn(|i| state[i] + step / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]));
    for concentration in [0, 1, 2, 4] {
        next[concentration] = next[concentration].max(0.0);
    }
    next[7] = next[7].clamp(AGITATION_MIN, AGITATION_MAX);
    next
}

/// Name, unit and standard deviation of the sensor noise of each channel.
const SENSORS: [(&str, &str, f64); 10] = [
    ("X", "g/L", 0.05),
    ("S", "g/L", 0.02),
    ("P", "g/L", 0.01),
    ("V", "L", 0.03),
    ("DO2", "%", 0.25),
    ("pH", "pH", 0.008),
    ("T", "K", 0.02),
    ("Fs", "L/h", 0.001),
    ("RPM", "1/min", 0.4),
    ("Fg", "L/min", 0.15),
];

/// The channels of every modelled batch.
pub fn channels() -> Vec<Channel> {
    SENSORS
        .iter()
        .map(|(name, unit, _)| Channel {
            name: (*name).into(),
            unit: (*unit).into(),
        })
        .collect()
}

/// Plays a whole batch. Row 1 is one step after the start, the last row is at the end of the batch.
///
/// # Errors
/// When the settings do not describe a batch, see [`SettingsError`].
pub fn fed_batch(settings: Settings) -> Result<Recording, SettingsError> {
    let Settings {
        duration_h,
        step_h,
        seed,
    } = settings;
    let positive = |hours: f64| hours.is_finite() && hours > 0.0;
    if !positive(duration_h) || !positive(step_h) || step_h > duration_h {
        return Err(SettingsError::Time);
    }
    let count = (duration_h / step_h).round();
    if count > MAX_ROWS as f64 {
        return Err(SettingsError::TooLong { rows: count as u64 });
    }

    let mut noise = Noise(StdRng::seed_from_u64(seed));
    let steps = (step_h / MAX_INTEGRATION_STEP_H).ceil().max(1.0);
    let mut state = START;
    let mut rows = Vec::with_capacity(count as usize);
    for index in 0..count as u64 {
        let from = index as f64 * step_h;
        for step in 0..steps as u64 {
            state = integrate(from + step as f64 * step_h / steps, &state, step_h / steps);
        }
        let time_h = (index + 1) as f64 * step_h;
        rows.push(Row {
            time_h,
            values: sense(time_h, &state, &mut noise),
        });
    }
    Ok(Recording::new(channels(), rows))
}

fn sense(time_h: f64, state: &State, noise: &mut Noise) -> Vec<f64> {
    let [
        biomass,
        substrate,
        product,
        volume,
        oxygen,
        ph,
        temperature,
        agitation,
    ] = *state;
    let truth = [
        biomass,
        substrate,
        product,
        volume,
        100.0 * oxygen / OXYGEN_SATURATION,
        ph,
        temperature,
        feed(time_h),
        agitation,
        airflow(time_h),
    ];
    truth
        .iter()
        .zip(SENSORS)
        // No sensor of these reads below zero.
        .map(|(value, (_, _, deviation))| (value + deviation * noise.next()).max(0.0))
        .collect()
}

struct Noise(StdRng);

impl Noise {
    /// A standard normal number (Box and Muller).
    fn next(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.0.random::<f64>()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(recording: &Recording, name: &str) -> Vec<f64> {
        let index = recording
            .channels()
            .iter()
            .position(|channel| channel.name == name)
            .unwrap();
        recording.rows().iter().map(|row| row.values[index]).collect()
    }

    #[test]
    fn a_batch_grows_feeds_and_makes_product() {
        let recording = fed_batch(Settings::default()).unwrap();
        assert_eq!(recording.rows().len(), 600);
        assert!((recording.end_h() - 120.0).abs() < 1e-9);
        let biomass = column(&recording, "X");
        let product = column(&recording, "P");
        let substrate = column(&recording, "S");
        let oxygen = column(&recording, "DO2");
        assert!(
            biomass[599] > 5.0 && biomass[599] < 60.0,
            "biomass {}",
            biomass[599]
        );
        assert!(
            product[599] > 0.5 && product[599] < 20.0,
            "product {}",
            product[599]
        );
        assert!(
            substrate[0] > 13.0 && substrate[300] < 2.0,
            "substrate {}",
            substrate[300]
        );
        assert!(
            oxygen.iter().all(|percent| (5.0..=102.0).contains(percent)),
            "oxygen {oxygen:?}"
        );
        assert!(
            recording
                .rows()
                .iter()
                .flat_map(|row| &row.values)
                .all(|value| value.is_finite())
        );
    }

    #[test]
    fn carbon_is_not_made_from_nothing() {
        // Substrate that was there and fed bounds what cells and product can hold.
        let recording = fed_batch(Settings::default()).unwrap();
        let fed: f64 = recording
            .rows()
            .iter()
            .map(|row| feed(row.time_h) * 0.2 * FEED_SUBSTRATE)
            .sum();
        let volume = *column(&recording, "V").last().unwrap();
        let biomass = *column(&recording, "X").last().unwrap() * volume;
        let product = *column(&recording, "P").last().unwrap() * volume;
        assert!(biomass / YIELD_BIOMASS + product / YIELD_PRODUCT < START[1] * START[3] + fed);
    }

    #[test]
    fn the_seed_decides_the_noise_and_nothing_else() {
        let settings = Settings {
            duration_h: 2.0,
            ..Settings::default()
        };
        assert_eq!(fed_batch(settings), fed_batch(settings));
        assert_ne!(fed_batch(settings), fed_batch(Settings { seed: 2, ..settings }));
    }

    #[test]
    fn settings_that_are_no_batch_are_refused() {
        for (duration_h, step_h) in [(0.0, 0.2), (-1.0, 0.2), (1.0, 0.0), (1.0, 2.0), (f64::NAN, 0.2)] {
            let settings = Settings {
                duration_h,
                step_h,
                seed: 1,
            };
            assert_eq!(fed_batch(settings), Err(SettingsError::Time));
        }
        let settings = Settings {
            duration_h: 1e6,
            step_h: 0.1,
            seed: 1,
        };
        assert_eq!(
            fed_batch(settings),
            Err(SettingsError::TooLong { rows: 10_000_000 })
        );
    }
}
