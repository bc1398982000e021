//! When keys expire. Source of the rules: <https://redis.io/commands/expire/>.

use bytes::Bytes;

use super::access::{Database, Fault};
use super::options::{ExpireConditions, TimeForm, parse_expire_time};
use super::value::Value;
use crate::view::View;

/// TTL's answer for a key that does not expire.
const NO_EXPIRY: i64 = -1;
/// TTL's answer for a key that does not exist.
const NO_KEY: i64 = -2;

impl<V: View> Database<'_, V> {
    /// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT key time conditions…
    pub async fn expire(
        &mut self,
        command: &'static str,
        form: TimeForm,
        key: &Bytes,
        number: &Bytes,
        conditions: &[Bytes],
    ) -> Result<Value, Fault> {
        let conditions = ExpireConditions::parse(conditions)?;
        let at_ms = parse_expire_time(command, form, number, self.now_ms())?;
        let Some(mut meta) = self.load(key).await? else {
            return Ok(Value::Integer(0));
        };
        if !conditions.allow(meta.expire_at_ms, at_ms) {
            return Ok(Value::Integer(0));
        }
        match u64::try_from(at_ms) {
            Ok(at_ms) if at_ms > 0 => {
                meta.expire_at_ms = Some(at_ms);
                self.store(key, &meta);
            }
            // 1970 and before: over on every clock.
            _ => self.remove(key),
        }
        Ok(Value::Integer(1))
    }

    /// TTL, PTTL, EXPIRETIME, PEXPIRETIME key
    pub async fn time_to_live(&mut self, form: TimeForm, key: &Bytes) -> Result<Value, Fault> {
        let now_ms = self.now_ms();
        let answer = match self.load(key).await?.map(|meta| meta.expire_at_ms) {
            None => NO_KEY,
            Some(None) => NO_EXPIRY,
            Some(Some(at_ms)) => {
                let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
                let ms = if form.absolute { at_ms } else { at_ms.saturating_sub(now_ms).max(0) };
                if form.seconds { ms.saturating_add(500) / 1000 } else { ms }
            }
        };
        Ok(Value::Integer(answer))
    }

    /// PERSIST key
    pub async fn persist(&mut self, key: &Bytes) -> Result<Value, Fault> {
        let Some(mut meta) = self.load(key).await? else {
            return Ok(Value::Integer(0));
        };
        let expired_one_day = meta.expire_at_ms.take().is_some();
        if expired_one_day {
            self.store(key, &meta);
        }
        Ok(Value::Integer(i64::from(expired_one_day)))
    }
}
