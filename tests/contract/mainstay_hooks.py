"""What schemathesis is taught about Mainstay."""

import schemathesis


def whole(value):
    """To JSON Schema 3.0 is an integer; to Mainstay, as to most who write JSON by a type, it is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    return value


@schemathesis.hook
def map_body(context, body):
    return whole(body)
