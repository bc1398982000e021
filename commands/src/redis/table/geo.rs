//! Commands on places on earth, kept in sorted sets.

use super::super::arguments::{KEY, block, double, integer, key, one_of, second_key, string, third_key, token};
use super::Flag::*;
use super::GeoCommand::*;
use super::KeyCommand::Geo;
use super::Place::AtLeader;
use super::{KeySpec, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("geoadd", AtLeader(Geo(GeoAdd)), -5, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "update"])])
        .categories(&["geo"])
        .group("geo")
        .since("3.2.0")
        .complexity("O(log(N)) for each place, where N is the size of the sorted set")
        .summary("Adds places")
        .arguments(&[
            KEY,
            one_of("condition", &[token("nx", "NX"), token("xx", "XX")]).optional(),
            token("change", "CH").optional(),
            block("longitude_latitude_member", &[double("longitude"), double("latitude"), string("member")]).multiple(),
        ]),
    Spec::new("geodist", AtLeader(Geo(GeoDist)), -4, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["geo"])
        .group("geo")
        .since("3.2.0")
        .summary("Distance of two places")
        .arguments(&[
            KEY,
            string("member1"),
            string("member2"),
            one_of("unit", &[token("m", "M"), token("km", "KM"), token("ft", "FT"), token("mi", "MI")]).optional(),
        ]),
    Spec::new("geohash", AtLeader(Geo(GeoHash)), -2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["geo"])
        .group("geo")
        .since("3.2.0")
        .complexity("O(N) where N is the number of places")
        .summary("Places as geohash texts")
        .arguments(&[KEY, string("member").multiple()]),
    Spec::new("geopos", AtLeader(Geo(GeoPos)), -2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["geo"])
        .group("geo")
        .since("3.2.0")
        .complexity("O(N) where N is the number of places")
        .summary("Longitude and latitude of places")
        .arguments(&[KEY, string("member").multiple()]),
    Spec::new("georadius", AtLeader(Geo(GeoRadius)), -6, &[Write, DenyOom, MovableKeys])
        .keys(&[
            KeySpec::one(&["RO", "access"]),
            KeySpec::behind("STORE", 6, &["OW", "update"]),
            KeySpec::behind("STOREDIST", 6, &["OW", "update"]),
        ])
        .categories(&["geo"])
        .group("geo")
        .since("3.2.0")
        .complexity("O(N+log(M)) for N places in the area of a sorted set of size M")
        .summary("Places around a position")
        .arguments(&[
            KEY,
            double("longitude"),
            double("latitude"),
            double("radius"),
            one_of("unit", &[token("m", "M"), token("km", "KM"), token("ft", "FT"), token("mi", "MI")]),
            token("withcoord", "WITHCOORD").optional(),
            token("withdist", "WITHDIST").optional(),
            token("withhash", "WITHHASH").optional(),
            block("count", &[integer("count").after("COUNT"), token("any", "ANY").optional()]).optional(),
            one_of("order", &[token("asc", "ASC"), token("desc", "DESC")]).optional(),
            second_key("key").after("STORE").optional(),
            third_key("key").after("STOREDIST").optional(),
        ])
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
    Spec::new("georadius_ro", AtLeader(Geo(GeoRadiusRo)), -6, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["geo"])
        .group("geo")
        .since("3.2.10")
        .complexity("O(N+log(M)) for N places in the area of a sorted set of size M")
        .summary("Places around a position, only read")
        .arguments(&[
            KEY,
            double("longitude"),
            double("latitude"),
            double("radius"),
            one_of("unit", &[token("m", "M"), token("km", "KM"), token("ft", "FT"), token("mi", "MI")]),
            token("withcoord", "WITHCOORD").optional(),
            token("withdist", "WITHDIST").optional(),
            token("withhash", "WITHHASH").optional(),
            block("count", &[integer("count").after("COUNT"), token("any", "ANY").optional()]).optional(),
            one_of("order", &[token("asc", "ASC"), token("desc", "DESC")]).optional(),
        ])
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument"),
    Spec::new("georadiusbymember", AtLeader(Geo(GeoRadiusByMember)), -5, &[Write, DenyOom, MovableKeys])
        .keys(&[
            KeySpec::one(&["RO", "access"]),
            KeySpec::behind("STORE", 5, &["OW", "update"]),
            KeySpec::behind("STOREDIST", 5, &["OW", "update"]),
        ])
        .categories(&["geo"])
        .group("geo")
        .since("3.2.0")
        .complexity("O(N+log(M)) for N places in the area of a sorted set of size M")
        .summary("Places around another place")
        .arguments(&[
            KEY,
            string("member"),
            double("radius"),
            one_of("unit", &[token("m", "M"), token("km", "KM"), token("ft", "FT"), token("mi", "MI")]),
            token("withcoord", "WITHCOORD").optional(),
            token("withdist", "WITHDIST").optional(),
            token("withhash", "WITHHASH").optional(),
            block("count", &[integer("count").after("COUNT"), token("any", "ANY").optional()]).optional(),
            one_of("order", &[token("asc", "ASC"), token("desc", "DESC")]).optional(),
            second_key("key").after("STORE").optional(),
            third_key("key").after("STOREDIST").optional(),
        ])
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    Spec::new("georadiusbymember_ro", AtLeader(Geo(GeoRadiusByMemberRo)), -5, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["geo"])
        .group("geo")
        .since("3.2.10")
        .complexity("O(N+log(M)) for N places in the area of a sorted set of size M")
        .summary("Places around another place, only read")
        .arguments(&[
            KEY,
            string("member"),
            double("radius"),
            one_of("unit", &[token("m", "M"), token("km", "KM"), token("ft", "FT"), token("mi", "MI")]),
            token("withcoord", "WITHCOORD").optional(),
            token("withdist", "WITHDIST").optional(),
            token("withhash", "WITHHASH").optional(),
            block("count", &[integer("count").after("COUNT"), token("any", "ANY").optional()]).optional(),
            one_of("order", &[token("asc", "ASC"), token("desc", "DESC")]).optional(),
        ])
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    Spec::new("geosearch", AtLeader(Geo(GeoSearch)), -7, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["geo"])
        .group("geo")
        .since("6.2.0")
        .complexity("O(N+log(M)) for N places in the area of a sorted set of size M")
        .summary("Places in a circle or a box")
        .arguments(&[
            KEY,
            one_of(
                "from",
                &[
                    string("member").after("FROMMEMBER"),
                    block("longitude_latitude", &[double("longitude"), double("latitude")]).after("FROMLONLAT"),
                ],
            ),
            one_of(
                "by",
                &[
                    block(
                        "circle",
                        &[
                            double("radius").after("BYRADIUS"),
                            one_of("unit", &[token("m", "M"), token("km", "KM"), token("ft", "FT"), token("mi", "MI")]),
                        ],
                    ),
                    block(
                        "box",
                        &[
                            double("width").after("BYBOX"),
                            double("height"),
                            one_of("unit", &[token("m", "M"), token("km", "KM"), token("ft", "FT"), token("mi", "MI")]),
                        ],
                    ),
                ],
            ),
            one_of("order", &[token("asc", "ASC"), token("desc", "DESC")]).optional(),
            block("count", &[integer("count").after("COUNT"), token("any", "ANY").optional()]).optional(),
            token("withcoord", "WITHCOORD").optional(),
            token("withdist", "WITHDIST").optional(),
            token("withhash", "WITHHASH").optional(),
        ]),
    Spec::new("geosearchstore", AtLeader(Geo(GeoSearchStore)), -8, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["OW", "update"]), KeySpec::at(2, &["RO", "access"])])
        .categories(&["geo"])
        .group("geo")
        .since("6.2.0")
        .complexity("O(N+log(M)) for N places in the area of a sorted set of size M")
        .summary("Stores the places in a circle or a box")
        .arguments(&[
            key("destination"),
            second_key("source"),
            one_of(
                "from",
                &[
                    string("member").after("FROMMEMBER"),
                    block("longitude_latitude", &[double("longitude"), double("latitude")]).after("FROMLONLAT"),
                ],
            ),
            one_of(
                "by",
                &[
                    block(
                        "circle",
                        &[
                            double("radius").after("BYRADIUS"),
                            one_of("unit", &[token("m", "M"), token("km", "KM"), token("ft", "FT"), token("mi", "MI")]),
                        ],
                    ),
                    block(
                        "box",
                        &[
                            double("width").after("BYBOX"),
                            double("height"),
                            one_of("unit", &[token("m", "M"), token("km", "KM"), token("ft", "FT"), token("mi", "MI")]),
                        ],
                    ),
                ],
            ),
            one_of("order", &[token("asc", "ASC"), token("desc", "DESC")]).optional(),
            block("count", &[integer("count").after("COUNT"), token("any", "ANY").optional()]).optional(),
            token("storedist", "STOREDIST").optional(),
        ]),
];
