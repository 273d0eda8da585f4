//! Enumerations that travel as a byte and are written by name.

/// An enumeration of bytes with names in a case, and their documentation.
macro_rules! named {
    ($(#[$doc:meta])* $case:literal $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, EnumString, FromRepr,
            IntoStaticStr,
        )]
        #[strum(serialize_all = $case)]
        #[serde(rename_all = $case)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            /// Name as in reports.
            pub fn name(self) -> &'static str {
                self.into()
            }
        }
    };
}

pub(crate) use named;
