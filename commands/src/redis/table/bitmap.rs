//! Commands on strings as arrays of bits.

use super::super::arguments::{KEY, block, integer, key, one_of, second_key, string, token};
use super::BitmapCommand::*;
use super::Flag::*;
use super::KeyCommand::Bitmap;
use super::Place::AtLeader;
use super::{KeySpec, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("bitcount", AtLeader(Bitmap(BitCount)), -2, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["bitmap"])
        .group("bitmap")
        .since("2.6.0")
        .complexity("O(N) where N is the number of bytes looked at")
        .summary("Counts the bits that are set")
        .arguments(&[
            KEY,
            block(
                "index",
                &[
                    integer("start"),
                    integer("end"),
                    one_of("index_unit", &[token("byte", "BYTE"), token("bit", "BIT")]).optional(),
                ],
            )
            .optional(),
        ]),
    Spec::new("bitfield", AtLeader(Bitmap(BitField)), -2, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "access", "update", "variable_flags"])
            .notes("This command allows both access and modification of the key")])
        .categories(&["bitmap"])
        .group("bitmap")
        .since("3.2.0")
        .complexity("O(1) for each operation")
        .summary("Reads and writes integers of any width in a string")
        .arguments(&[
            KEY,
            one_of(
                "operation",
                &[
                    block("encoding_offset", &[string("encoding"), integer("offset")]).after("GET"),
                    block(
                        "write",
                        &[
                            one_of(
                                "wrap_sat_fail",
                                &[token("wrap", "WRAP"), token("sat", "SAT"), token("fail", "FAIL")],
                            )
                            .after("OVERFLOW")
                            .optional(),
                            one_of(
                                "write_operation",
                                &[
                                    block(
                                        "encoding_offset_value",
                                        &[string("encoding"), integer("offset"), integer("value")],
                                    )
                                    .after("SET"),
                                    block(
                                        "encoding_offset_increment",
                                        &[string("encoding"), integer("offset"), integer("increment")],
                                    )
                                    .after("INCRBY"),
                                ],
                            ),
                        ],
                    ),
                ],
            )
            .optional()
            .multiple(),
        ]),
    Spec::new("bitfield_ro", AtLeader(Bitmap(BitFieldRo)), -2, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["bitmap"])
        .group("bitmap")
        .since("6.0.0")
        .complexity("O(1) for each operation")
        .summary("Reads integers of any width in a string")
        .arguments(&[
            KEY,
            block("encoding_offset", &[string("encoding"), integer("offset")])
                .after("GET")
                .optional()
                .multiple()
                .with_token_each(),
        ]),
    Spec::new("bitop", AtLeader(Bitmap(BitOp)), -4, &[Write, DenyOom])
        .keys(&[KeySpec::at(2, &["OW", "update"]), KeySpec::from(3, &["RO", "access"])])
        .categories(&["bitmap"])
        .group("bitmap")
        .since("2.6.0")
        .complexity("O(N) where N is the length of the longest string")
        .summary("Combines strings bit by bit")
        .arguments(&[string("operation"), key("destkey"), second_key("key").multiple()]),
    Spec::new("bitpos", AtLeader(Bitmap(BitPos)), -3, &[ReadOnly])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["bitmap"])
        .group("bitmap")
        .since("2.8.7")
        .complexity("O(N) where N is the number of bytes looked at")
        .summary("Position of the first bit that is set or clear")
        .arguments(&[
            KEY,
            integer("bit"),
            block(
                "index",
                &[
                    integer("start"),
                    block(
                        "end_index",
                        &[
                            integer("end"),
                            one_of("index_unit", &[token("byte", "BYTE"), token("bit", "BIT")]).optional(),
                        ],
                    )
                    .optional(),
                ],
            )
            .optional(),
        ]),
    Spec::new("getbit", AtLeader(Bitmap(GetBit)), 3, &[ReadOnly, Fast])
        .keys(&[KeySpec::one(&["RO", "access"])])
        .categories(&["bitmap"])
        .group("bitmap")
        .since("2.2.0")
        .summary("Reads a bit of a string")
        .arguments(&[KEY, integer("offset")]),
    Spec::new("setbit", AtLeader(Bitmap(SetBit)), 4, &[Write, DenyOom])
        .keys(&[KeySpec::one(&["RW", "access", "update"])])
        .categories(&["bitmap"])
        .group("bitmap")
        .since("2.2.0")
        .complexity("O(N) where N is the length of the string")
        .summary("Writes a bit of a string")
        .arguments(&[KEY, integer("offset"), integer("value")]),
];
