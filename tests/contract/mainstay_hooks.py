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
    body = whole(body)
    if context.operation.path == "/v1/workers/pull" and isinstance(body, dict):
        # There is nothing to wait for. What is wrong stays wrong.
        wait = body.get("wait_secs")
        if wait is None or (type(wait) is int and 0 <= wait <= 30):
            body["wait_secs"] = 0
    return body
