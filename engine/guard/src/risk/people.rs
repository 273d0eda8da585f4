//! Persons who may change what the gate does, by their role. Who somebody is has been found out before (by the control
//! socket's owner, a certificate): here it is only whether that person may.

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Gives the heartbeat and throws switches.
    Operator,
    /// The risk function: verifies overrides (RTS 6 Art. 15(6)), changes lists, is the second person of a reset.
    Risk,
    /// A designated person: authorises overrides, resets switches, lets a throttled strategy go on (Art. 15(3), (6)).
    Designated,
}

/// A person, by position in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(pub u16);

impl PersonId {
    /// Nobody: what the engine does by itself.
    pub const NONE: Self = Self(u16::MAX);
}

/// Who agreed to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The designated person.
    pub designated: PersonId,
    /// The risk function's, where two are needed.
    pub risk: Option<PersonId>,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nobody of that number, or without the role.
    #[error("person {person} has no role {role:?}")]
    Role {
        /// Who.
        person: u16,
        /// What was needed.
        role: Role,
    },
    /// A second person is needed.
    #[error("a second person with the role risk must agree")]
    Second,
    /// Both keys are one person's.
    #[error("both keys belong to person {0}: two persons must agree")]
    Same(u16),
    /// No reason was given.
    #[error("a reason is needed")]
    Reason,
}

/// Everybody, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct People {
    pub(crate) names: Vec<String>,
    pub(crate) roles: Vec<Vec<Role>>,
}

impl People {
    pub(crate) fn may(&self, person: PersonId, role: Role) -> Result<(), KeyError> {
        let has = self.roles.get(usize::from(person.0)).is_some_and(|roles| roles.contains(&role));
        if has { Ok(()) } else { Err(KeyError::Role { person: person.0, role }) }
    }

    /// Whether keys suffice, and a reason was given.
    pub(crate) fn agree(&self, keys: Keys, two: bool, reason: &str) -> Result<(), KeyError> {
        if reason.trim().is_empty() {
            return Err(KeyError::Reason);
        }
        self.may(keys.designated, Role::Designated)?;
        match keys.risk {
            None if two => Err(KeyError::Second),
            None => Ok(()),
            Some(risk) if risk == keys.designated => Err(KeyError::Same(risk.0)),
            Some(risk) => self.may(risk, Role::Risk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_two_persons_with_their_roles() {
        let people = People {
            names: ["ada", "bob", "cyd"].map(str::to_owned).into(),
            roles: vec![vec![Role::Designated, Role::Risk], vec![Role::Risk], vec![Role::Operator]],
        };
        let agree = |designated, risk: Option<u16>, two, reason: &str| {
            people.agree(Keys { designated: PersonId(designated), risk: risk.map(PersonId) }, two, reason)
        };
        assert_eq!(agree(0, Some(1), true, "checked"), Ok(()));
        assert_eq!(agree(0, None, false, "checked"), Ok(()));
        assert_eq!(agree(0, None, true, "checked"), Err(KeyError::Second));
        assert_eq!(agree(0, Some(0), true, "checked"), Err(KeyError::Same(0)));
        assert_eq!(agree(0, Some(1), true, "  "), Err(KeyError::Reason));
        assert_eq!(agree(0, Some(2), true, "x"), Err(KeyError::Role { person: 2, role: Role::Risk }));
        assert_eq!(agree(2, Some(1), true, "x"), Err(KeyError::Role { person: 2, role: Role::Designated }));
        assert!(agree(9, None, false, "x").is_err());
    }
}
