"""Values, keys and channel items as bytes: the only place that sees msgpack and msgspec."""
