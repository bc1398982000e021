//! Commands on places. Source of the rules: <https://redis.io/commands/?group=geo>, compared with redis-server 7.0.
//!
//! Places are members of a sorted set whose scores are their numbers ([`hash`]). A search covers its shape with a few
//! squares, reads the members of each, an interval of scores, and keeps those that lie inside.

use std::collections::HashMap;

use bytes::Bytes;

use super::access::{Database, Fault, Reply};
use super::error::RedisError;
use super::sorted_set::score::parse_double;
use super::sorted_set::{AddOptions, Scored, SortedSet};
use super::table::GeoCommand;
use super::value::Value;
use crate::view::View;

mod hash;
mod query;

use hash::Place;
use query::{Form, Query, Sorting};

/// A unit of length.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Length {
    /// Metres.
    metres: f64,
}

impl Length {
    const METRE: Length = Length { metres: 1.0 };

    fn parse(word: &[u8]) -> Result<Self, RedisError> {
        let metres = match word.to_ascii_lowercase().as_slice() {
            b"m" => 1.0,
            b"km" => 1000.0,
            b"ft" => 0.3048,
            b"mi" => 1609.34,
            _ => return Err(RedisError::NotALength),
        };
        Ok(Self { metres })
    }

    /// A distance as it is answered.
    fn show(self, metres: f64) -> Value {
        Value::bulk(format!("{:.4}", metres / self.metres))
    }
}

/// A member that a search has found.
struct Found {
    member: Bytes,
    score: f64,
    place: Place,
    metres: f64,
}

fn parse_place(longitude: &[u8], latitude: &[u8]) -> Result<Place, RedisError> {
    let number = |text| parse_double(text).ok_or(RedisError::NotAFloat);
    let place = Place { longitude: number(longitude)?, latitude: number(latitude)? };
    match place.is_on_the_map() {
        true => Ok(place),
        false => {
            Err(RedisError::NotOnTheMap { longitude: fixed(place.longitude, 6), latitude: fixed(place.latitude, 6) })
        }
    }
}

/// With so many digits behind the point; infinities by name.
fn fixed(number: f64, digits: usize) -> String {
    if number.is_finite() { format!("{number:.digits$}") } else { number.to_string() }
}

/// A coordinate: 17 digits behind the point, without the zeros at the end.
fn coordinate(number: f64) -> Value {
    let text = format!("{number:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    Value::Decimal(if text == "-0" { "0".to_owned() } else { text.to_owned() })
}

fn pair(place: Place) -> Value {
    Value::Array(vec![coordinate(place.longitude), coordinate(place.latitude)])
}

impl<V: View> Database<'_, V> {
    /// Runs a command on places.
    pub async fn on_geo(&mut self, command: GeoCommand, name: &'static str, args: &[Bytes]) -> Reply {
        let key = &args[1];
        match command {
            GeoCommand::GeoAdd => self.geoadd(key, &args[2..]).await,
            GeoCommand::GeoDist => self.geodist(key, &args[2..]).await,
            GeoCommand::GeoHash => {
                let places = self.places(key, &args[2..]).await?.into_iter();
                Ok(Value::Array(places.map(|at| at.map_or(Value::Null, |at| Value::bulk(at.letters()))).collect()))
            }
            GeoCommand::GeoPos => {
                let places = self.places(key, &args[2..]).await?.into_iter();
                Ok(Value::Array(places.map(|at| at.map_or(Value::NullArray, pair)).collect()))
            }
            GeoCommand::GeoRadius => self.search(name, Form::AroundPlace { stores: true }, key, &args[2..]).await,
            GeoCommand::GeoRadiusRo => self.search(name, Form::AroundPlace { stores: false }, key, &args[2..]).await,
            GeoCommand::GeoRadiusByMember => {
                self.search(name, Form::AroundMember { stores: true }, key, &args[2..]).await
            }
            GeoCommand::GeoRadiusByMemberRo => {
                self.search(name, Form::AroundMember { stores: false }, key, &args[2..]).await
            }
            GeoCommand::GeoSearch => self.search(name, Form::Search, key, &args[2..]).await,
            GeoCommand::GeoSearchStore => {
                self.search(name, Form::SearchInto { destination: key.clone() }, &args[2], &args[3..]).await
            }
        }
    }

    /// GEOADD key [NX|XX] [CH] longitude latitude member…
    async fn geoadd(&mut self, key: &Bytes, mut args: &[Bytes]) -> Reply {
        let mut options = AddOptions::default();
        while let [word, rest @ ..] = args {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => options.only_new = true,
                b"xx" => options.only_existing = true,
                b"ch" => options.count_changes = true,
                _ => break,
            }
            args = rest;
        }
        let (triples, rest) = args.as_chunks::<3>();
        if !rest.is_empty() || (options.only_new && options.only_existing) {
            return Err(RedisError::Syntax.into());
        }
        let scored = |[longitude, latitude, member]: &[Bytes; 3]| {
            Ok((member.clone(), parse_place(longitude, latitude)?.encode() as f64))
        };
        let members: Vec<Scored> = triples.iter().map(scored).collect::<Result<_, RedisError>>()?;
        if members.is_empty() {
            return Err(RedisError::Syntax.into());
        }
        self.add_members(key, options, &members).await
    }

    async fn places(&mut self, key: &Bytes, members: &[Bytes]) -> Result<Vec<Option<Place>>, Fault> {
        let set = self.open_sorted_set(key).await?;
        let mut places = Vec::with_capacity(members.len());
        for member in members {
            let score = match &set {
                Some(set) => set.score(self.view, member).await?,
                None => None,
            };
            places.push(score.map(place_of));
        }
        Ok(places)
    }

    /// GEODIST key member member [unit]
    async fn geodist(&mut self, key: &Bytes, args: &[Bytes]) -> Reply {
        let (members, unit) = args.split_at(2);
        let unit = match unit {
            [] => Length::METRE,
            [unit] => Length::parse(unit)?,
            _ => return Err(RedisError::Syntax.into()),
        };
        let places = self.places(key, members).await?;
        Ok(match places[..] {
            [Some(left), Some(right)] => unit.show(left.distance(right)),
            _ => Value::Null,
        })
    }

    /// GEOSEARCH, GEORADIUS and their relatives
    async fn search(&mut self, name: &'static str, form: Form, key: &Bytes, args: &[Bytes]) -> Reply {
        let set = self.open_sorted_set(key).await?;
        let mut members = set.is_some().then(HashMap::new);
        if let (Some(set), Some(members)) = (&set, &mut members) {
            for member in Query::named_members(&form, args) {
                let score = set.score(self.view, &member).await?;
                members.insert(member, score.map(place_of));
            }
        }
        let query = Query::parse(name, &form, &members, args)?;
        let Some(set) = set else {
            return match &query.destination {
                Some(destination) => self.store_sorted_set(destination, &[]).await,
                None => Ok(Value::Array(Vec::new())),
            };
        };
        let found = self.found(&set, &query).await?;
        let Some(destination) = &query.destination else {
            return Ok(Value::Array(found.into_iter().map(|found| query.show(found)).collect()));
        };
        let scored = |found: Found| {
            (found.member, if query.store_distance { found.metres / query.unit.metres } else { found.score })
        };
        let members: Vec<Scored> = found.into_iter().map(scored).collect();
        self.store_sorted_set(destination, &members).await
    }

    async fn found(&mut self, set: &SortedSet, query: &Query) -> Result<Vec<Found>, Fault> {
        let mut found = Vec::new();
        let enough = if query.any { query.count } else { usize::MAX };
        'squares: for numbers in query.shape.cover(query.centre) {
            for (member, score) in set.with_scores(self.view, numbers.start as f64..numbers.end as f64).await? {
                let place = place_of(score);
                if let Some(metres) = query.shape.distance(query.centre, place) {
                    found.push(Found { member, score, place, metres });
                    if found.len() >= enough {
                        break 'squares;
                    }
                }
            }
        }
        match query.sorting {
            Some(Sorting::NearestFirst) => found.sort_by(|left, right| left.metres.total_cmp(&right.metres)),
            Some(Sorting::FarthestFirst) => found.sort_by(|left, right| right.metres.total_cmp(&left.metres)),
            None => {}
        }
        found.truncate(query.count);
        Ok(found)
    }
}

fn place_of(score: f64) -> Place {
    Place::decode(score as u64)
}
