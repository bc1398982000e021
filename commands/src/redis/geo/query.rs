//! The arguments of GEOSEARCH, GEORADIUS and their relatives.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::error::RedisError;
use super::super::number::parse_integer;
use super::super::sorted_set::score::parse_double;
use super::super::value::Value;
use super::hash::{Place, Shape};
use super::{Found, Length, pair, parse_place};

/// Which command it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// GEORADIUS: longitude, latitude, radius, unit, options.
    AroundPlace {
        /// Not the one that only reads.
        stores: bool,
    },
    /// GEORADIUSBYMEMBER: member, radius, unit, options.
    AroundMember {
        /// Not the one that only reads.
        stores: bool,
    },
    /// GEOSEARCH: options.
    Search,
    /// GEOSEARCHSTORE: options.
    SearchInto {
        /// Where to.
        destination: Bytes,
    },
}

/// Where the members are that a command line names as its centre; `None`: there is no sorted set, and nobody asks.
pub(super) type Members = Option<HashMap<Bytes, Option<Place>>>;

/// How the centre was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Place,
    Member,
}

/// ASC or DESC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sorting {
    /// ASC
    NearestFirst,
    /// DESC
    FarthestFirst,
}

/// What is searched, and how it is answered.
pub(super) struct Query {
    /// Around what.
    pub centre: Place,
    /// How far.
    pub shape: Shape,
    /// Of the distances that are answered.
    pub unit: Length,
    /// Of the answer.
    pub sorting: Option<Sorting>,
    /// At most so many.
    pub count: usize,
    /// The first that are found will do.
    pub any: bool,
    /// Where to store what is found, instead of answering it.
    pub destination: Option<Bytes>,
    /// Store distances as scores.
    pub store_distance: bool,
    with_place: bool,
    with_distance: bool,
    with_number: bool,
}

/// What has been read so far.
#[derive(Default)]
struct Draft {
    centre: Option<(By, Place)>,
    shape: Option<(Shape, Length)>,
    sorting: Option<Sorting>,
    count: Option<usize>,
    any: bool,
    destination: Option<Bytes>,
    store_distance: bool,
    with_place: bool,
    with_distance: bool,
    with_number: bool,
}

impl Query {
    /// Members that a command line names as its centre, perhaps: what stands where one would.
    pub fn named_members(form: &Form, args: &[Bytes]) -> Vec<Bytes> {
        match form {
            Form::AroundPlace { .. } => Vec::new(),
            Form::AroundMember { .. } => args.first().cloned().into_iter().collect(),
            Form::Search | Form::SearchInto { .. } => {
                let pairs = args.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case(b"frommember"));
                pairs.map(|pair| pair[1].clone()).collect()
            }
        }
    }

    /// Reads what follows the key.
    pub fn parse(name: &'static str, form: &Form, members: &Members, mut args: &[Bytes]) -> Result<Self, RedisError> {
        let mut draft = Draft::default();
        match (form, args) {
            (Form::AroundPlace { .. }, [longitude, latitude, radius, unit, rest @ ..]) => {
                draft.centre = Some((By::Place, parse_place(longitude, latitude)?));
                draft.shape = Some(circle(radius, unit)?);
                args = rest;
            }
            (Form::AroundMember { .. }, [member, radius, unit, rest @ ..]) => {
                draft.centre = Some((By::Member, place_of(member, members)?));
                // Of a key that does not exist Redis does not read how far to search.
                draft.shape = Some(if members.is_some() { circle(radius, unit)? } else { NOWHERE });
                args = rest;
            }
            (Form::AroundPlace { .. } | Form::AroundMember { .. }, _) => return Err(RedisError::Syntax),
            (Form::SearchInto { destination }, _) => draft.destination = Some(destination.clone()),
            (Form::Search, _) => {}
        }
        let may_store = matches!(form, Form::AroundPlace { stores: true } | Form::AroundMember { stores: true });
        while let [word, rest @ ..] = args {
            args = draft.read_option(&word.to_ascii_lowercase(), rest, form, members, may_store)?;
        }
        draft.finish(name, form)
    }

    /// One of those found, as it is answered.
    pub fn show(&self, found: Found) -> Value {
        let mut parts = vec![Value::Bulk(found.member)];
        if self.with_distance {
            parts.push(self.unit.show(found.metres));
        }
        if self.with_number {
            parts.push(Value::Integer(found.score as i64));
        }
        if self.with_place {
            parts.push(pair(found.place));
        }
        match parts.len() {
            1 => parts.swap_remove(0),
            _ => Value::Array(parts),
        }
    }
}

impl Draft {
    /// Reads one option; what follows it.
    fn read_option<'a>(
        &mut self,
        word: &[u8],
        rest: &'a [Bytes],
        form: &Form,
        members: &Members,
        may_store: bool,
    ) -> Result<&'a [Bytes], RedisError> {
        let searches = matches!(form, Form::Search | Form::SearchInto { .. });
        match (word, rest) {
            (b"withdist", _) => self.with_distance = true,
            (b"withhash", _) => self.with_number = true,
            (b"withcoord", _) => self.with_place = true,
            (b"any", _) => self.any = true,
            (b"asc", _) => self.sorting = Some(Sorting::NearestFirst),
            (b"desc", _) => self.sorting = Some(Sorting::FarthestFirst),
            (b"count", [count, rest @ ..]) => {
                let count = parse_integer(count)?;
                self.count = Some(usize::try_from(count).ok().filter(|&count| count > 0).ok_or(RedisError::NoCount)?);
                return Ok(rest);
            }
            (b"store" | b"storedist", [key, rest @ ..]) if may_store => {
                self.destination = Some(key.clone());
                self.store_distance = word == b"storedist";
                return Ok(rest);
            }
            (b"storedist", _) if matches!(form, Form::SearchInto { .. }) => self.store_distance = true,
            (b"frommember", [member, rest @ ..]) if searches && !self.has_centre(By::Place) => {
                self.centre = Some((By::Member, place_of(member, members)?));
                return Ok(rest);
            }
            (b"fromlonlat", [longitude, latitude, rest @ ..]) if searches && !self.has_centre(By::Member) => {
                self.centre = Some((By::Place, parse_place(longitude, latitude)?));
                return Ok(rest);
            }
            (b"byradius", [radius, unit, rest @ ..])
                if searches && !self.has_shape(|shape| matches!(shape, Shape::Box { .. })) =>
            {
                self.shape = Some(circle(radius, unit)?);
                return Ok(rest);
            }
            (b"bybox", [width, height, unit, rest @ ..])
                if searches && !self.has_shape(|shape| matches!(shape, Shape::Circle { .. })) =>
            {
                let side = |text, error| parse_double(text).ok_or(error);
                let (width, height) = (side(width, RedisError::NotAWidth)?, side(height, RedisError::NotAHeight)?);
                if width < 0.0 || height < 0.0 {
                    return Err(RedisError::NegativeBox);
                }
                let unit = Length::parse(unit)?;
                let shape = Shape::Box { width: width * unit.metres, height: height * unit.metres };
                self.shape = Some((shape, unit));
                return Ok(rest);
            }
            _ => return Err(RedisError::Syntax),
        }
        Ok(rest)
    }

    /// Given in this way; the same way again gives another centre, the other way is no option then.
    fn has_centre(&self, by: By) -> bool {
        self.centre.is_some_and(|(given, _)| given == by)
    }

    /// The same of the shape.
    fn has_shape(&self, is_kind: impl Fn(Shape) -> bool) -> bool {
        self.shape.is_some_and(|(given, _)| is_kind(given))
    }

    fn finish(self, name: &'static str, form: &Form) -> Result<Query, RedisError> {
        let Self { centre, shape, count, any, destination, store_distance, .. } = self;
        let with_anything = self.with_place || self.with_distance || self.with_number;
        if destination.is_some() && with_anything {
            return Err(match form {
                Form::SearchInto { .. } => RedisError::GeoStoreWith { option: "GEOSEARCHSTORE" },
                _ => RedisError::GeoStoreWith { option: "STORE option in GEORADIUS" },
            });
        }
        let (_, centre) = centre.ok_or(RedisError::NoCentre { command: name })?;
        let (shape, unit) = shape.ok_or(RedisError::NoShape { command: name })?;
        if any && count.is_none() {
            return Err(RedisError::AnyWithoutCount);
        }
        // The nearest, if only some are wanted.
        let nearest = (count.is_some() && !any).then_some(Sorting::NearestFirst);
        Ok(Query {
            centre,
            shape,
            unit,
            sorting: self.sorting.or(nearest),
            count: count.unwrap_or(usize::MAX),
            any,
            destination,
            store_distance,
            with_place: self.with_place,
            with_distance: self.with_distance,
            with_number: self.with_number,
        })
    }
}

/// What is searched when there is nothing to search.
const NOWHERE: (Shape, Length) = (Shape::Circle { radius: 0.0 }, Length::METRE);

fn place_of(member: &Bytes, members: &Members) -> Result<Place, RedisError> {
    match members {
        None => Ok(Place { longitude: 0.0, latitude: 0.0 }),
        Some(members) => members.get(member).copied().flatten().ok_or(RedisError::NoSuchPlace),
    }
}

fn circle(radius: &[u8], unit: &[u8]) -> Result<(Shape, Length), RedisError> {
    let radius = parse_double(radius).ok_or(RedisError::NotARadius)?;
    if radius < 0.0 {
        return Err(RedisError::NegativeRadius);
    }
    let unit = Length::parse(unit)?;
    Ok((Shape::Circle { radius: radius * unit.metres }, unit))
}
