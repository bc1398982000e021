//! Places as 52-bit numbers: 26 bits of longitude and of latitude, interleaved, longitude first. Near places mostly have
//! near numbers, so a square of the map is an interval of scores.

use std::f64::consts::PI;
use std::ops::Range;

/// Bits of each coordinate.
const STEP: u32 = 26;
/// Longitudes that a place may have.
pub const LONGITUDE: (f64, f64) = (-180.0, 180.0);
/// Latitudes that a place may have: what the Mercator projection of maps shows.
pub const LATITUDE: (f64, f64) = (-85.051_128_78, 85.051_128_78);
/// Metres.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
/// Most squares of a search.
const MAX_SQUARES: u64 = 16;
const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// A place: degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

/// Which of 2^26 stripes between two bounds a coordinate lies in.
fn stripe(coordinate: f64, (min, max): (f64, f64)) -> u64 {
    let stripes = (1_u64 << STEP) as f64;
    ((coordinate - min) / (max - min) * stripes).clamp(0.0, stripes - 1.0) as u64
}

/// The middle of a stripe.
fn middle(stripe: u64, (min, max): (f64, f64)) -> f64 {
    let stripes = (1_u64 << STEP) as f64;
    let edge = |stripe: u64| min + (stripe as f64 / stripes) * (max - min);
    ((edge(stripe) + edge(stripe + 1)) / 2.0).clamp(min, max)
}

/// Every bit of `x` in an even place.
fn spread(x: u64) -> u64 {
    (0..STEP).fold(0, |bits, bit| bits | (x >> bit & 1) << (2 * bit))
}

/// Inverse of [`spread`]; odd places do not matter.
fn gather(bits: u64) -> u64 {
    (0..STEP).fold(0, |x, bit| x | (bits >> (2 * bit) & 1) << bit)
}

impl Place {
    /// Whether a sorted set can keep it.
    pub fn is_on_the_map(self) -> bool {
        (LONGITUDE.0..=LONGITUDE.1).contains(&self.longitude) && (LATITUDE.0..=LATITUDE.1).contains(&self.latitude)
    }

    /// Its number.
    pub fn encode(self) -> u64 {
        spread(stripe(self.latitude, LATITUDE)) | spread(stripe(self.longitude, LONGITUDE)) << 1
    }

    /// The middle of what has this number.
    pub fn decode(number: u64) -> Self {
        Self { longitude: middle(gather(number >> 1), LONGITUDE), latitude: middle(gather(number), LATITUDE) }
    }

    /// The eleven letters of <https://en.wikipedia.org/wiki/Geohash>; of the last only the place is left.
    pub fn letters(self) -> String {
        let world = (-90.0, 90.0);
        let bits = spread(stripe(self.latitude, world)) | spread(stripe(self.longitude, LONGITUDE)) << 1;
        let letter = |at: u32| if at == 10 { 0 } else { bits >> (2 * STEP - (at + 1) * 5) & 31 };
        (0..11).map(|at| char::from(LETTERS[letter(at) as usize])).collect()
    }

    /// Metres along the surface, by the haversine formula.
    pub fn distance(self, other: Self) -> f64 {
        let v = ((other.longitude.to_radians() - self.longitude.to_radians()) / 2.0).sin();
        if v == 0.0 {
            return self.distance_north(other);
        }
        let (here, there) = (self.latitude.to_radians(), other.latitude.to_radians());
        let u = ((there - here) / 2.0).sin();
        2.0 * EARTH_RADIUS * (u * u + here.cos() * there.cos() * v * v).sqrt().asin()
    }

    /// Metres between the latitudes.
    fn distance_north(self, other: Self) -> f64 {
        EARTH_RADIUS * (other.latitude.to_radians() - self.latitude.to_radians()).abs()
    }
}

/// What is searched, in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// All around.
    Circle {
        /// How far.
        radius: f64,
    },
    /// Between two meridians and two parallels, more or less.
    Box {
        /// From west to east.
        width: f64,
        /// From south to north.
        height: f64,
    },
}

impl Shape {
    /// How far a place is from the centre, if it lies inside.
    pub fn distance(self, centre: Place, place: Place) -> Option<f64> {
        match self {
            Shape::Circle { radius } => Some(centre.distance(place)).filter(|distance| *distance <= radius),
            Shape::Box { width, height } => {
                if place.distance_north(centre) > height / 2.0 {
                    return None;
                }
                let same_latitude = Place { latitude: place.latitude, ..centre };
                (place.distance(same_latitude) <= width / 2.0).then(|| centre.distance(place))
            }
        }
    }

    /// Intervals of numbers, sorted and apart, that hold at least every place inside.
    pub fn cover(self, centre: Place) -> Vec<Range<u64>> {
        let (east, north) = match self {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let north = (north / EARTH_RADIUS).to_degrees();
        let (bottom, top) = (centre.latitude - north, centre.latitude + north);
        let farthest = bottom.abs().max(top.abs()).min(90.0).to_radians();
        // At the farthest latitude the same distance spans the most degrees.
        let spread = (east / EARTH_RADIUS / 2.0).min(PI / 2.0).sin() / farthest.cos();
        let degrees = if spread < 1.0 && farthest < PI / 2.0 { 2.0 * spread.asin().to_degrees() } else { 180.0 };
        // A little more, so that rounding leaves nobody out.
        let (degrees, slack) = (degrees * 1.000_001 + 1e-9, north * 1e-6 + 1e-9);
        let latitudes = stripe(bottom - slack, LATITUDE)..stripe(top + slack, LATITUDE) + 1;
        let (west, east) = (centre.longitude - degrees, centre.longitude + degrees);
        let mut intervals = Vec::new();
        let mut add = |west: f64, east: f64| {
            let longitudes = stripe(west, LONGITUDE)..stripe(east, LONGITUDE) + 1;
            intervals.extend(squares(longitudes, latitudes.clone()));
        };
        if degrees >= 180.0 {
            add(LONGITUDE.0, LONGITUDE.1);
        } else {
            // Over the date line it goes on at the other end of the map.
            add(west.max(LONGITUDE.0), east.min(LONGITUDE.1));
            if west < LONGITUDE.0 {
                add(west + 360.0, LONGITUDE.1);
            }
            if east > LONGITUDE.1 {
                add(LONGITUDE.0, east - 360.0);
            }
        }
        intervals.sort_by_key(|interval| interval.start);
        let mut apart: Vec<Range<u64>> = Vec::new();
        for interval in intervals {
            match apart.last_mut().filter(|last| last.end >= interval.start) {
                Some(last) => last.end = last.end.max(interval.end),
                None => apart.push(interval),
            }
        }
        apart
    }
}

/// The largest squares, few enough, that hold all these stripes.
fn squares(longitudes: Range<u64>, latitudes: Range<u64>) -> Vec<Range<u64>> {
    let cells = |range: &Range<u64>, shift: u32| (range.start >> shift)..((range.end - 1) >> shift) + 1;
    let count = |range: Range<u64>| range.end - range.start;
    let fits = |shift: &u32| count(cells(&longitudes, *shift)) * count(cells(&latitudes, *shift)) <= MAX_SQUARES;
    let shift = (0..STEP).find(fits).unwrap_or(STEP);
    let mut found = Vec::new();
    for longitude in cells(&longitudes, shift) {
        for latitude in cells(&latitudes, shift) {
            let cell = spread(latitude) | spread(longitude) << 1;
            found.push(cell << (2 * shift)..(cell + 1) << (2 * shift));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places() -> impl Strategy<Value = Place> {
        (LONGITUDE.0..LONGITUDE.1, LATITUDE.0..LATITUDE.1)
            .prop_map(|(longitude, latitude)| Place { longitude, latitude })
    }

    #[test]
    fn palermo_is_where_the_manual_of_redis_says() {
        let palermo = Place { longitude: 13.361389, latitude: 38.115556 };
        assert_eq!(palermo.encode(), 3_479_099_956_230_698);
        assert_eq!(Place::decode(palermo.encode()).letters(), "sqc8b49rny0");
        let catania = Place { longitude: 15.087269, latitude: 37.502669 };
        assert_eq!(Place::decode(catania.encode()).letters(), "sqdtr74hyu0");
        let distance = Place::decode(palermo.encode()).distance(Place::decode(catania.encode()));
        assert_eq!(format!("{distance:.4}"), "166274.1516");
    }

    proptest! {
        #[test]
        fn places_round_trip(place in places()) {
            let number = place.encode();
            prop_assert!(number < 1 << (2 * STEP));
            prop_assert!(Place::decode(number).distance(place) < 1.0);
            prop_assert_eq!(Place::decode(number).encode(), number);
        }

        #[test]
        fn nothing_inside_a_shape_is_left_out(
            centre in places(), towards in places(), near in 0.0..1.0_f64, size in 1.0..20_000_000.0_f64, flat in 0.01..1.0_f64,
        ) {
            // Places at any distance, near ones too.
            let mix = |from: f64, to: f64| from + (to - from) * near * near * near;
            let place = Place {
                longitude: mix(centre.longitude, towards.longitude),
                latitude: mix(centre.latitude, towards.latitude),
            };
            let place = Place::decode(place.encode());
            for shape in [Shape::Circle { radius: size }, Shape::Box { width: size, height: size * flat }] {
                let intervals = shape.cover(centre);
                prop_assert!(intervals.len() <= 3 * MAX_SQUARES as usize);
                let covered = intervals.iter().any(|interval| interval.contains(&place.encode()));
                prop_assert!(covered || shape.distance(centre, place).is_none(), "{:?}", shape);
            }
        }
    }
}
