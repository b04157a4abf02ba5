"""Makes `schemas.py` and `api.py` of the API's document, docs/openapi.json. With `--check` it only says whether they are fresh."""

from __future__ import annotations

import json
import keyword
import pathlib
import sys
import textwrap
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
DOCUMENT = HERE.parent.parent / "docs" / "openapi.json"
PACKAGE = HERE / "src" / "mainstay"
WIDTH = 120
MADE = "Made of the API's document by generate.py: not written by hand."
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}

Schema = dict[str, Any]


def class_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.replace("-", "_").split("_"))


def comment(text: str | None, indent: str) -> list[str]:
    if not text:
        return []
    prefix = f"{indent}# "
    lines = textwrap.wrap(" ".join(text.split()), WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False)
    return lines


def docstring(text: str, indent: str) -> list[str]:
    clean = text.replace("\\", "\\\\").replace('"""', "'''")
    paragraphs = [" ".join(one.split()) for one in clean.split("\n\n") if one.strip()]
    lines: list[str] = []
    for paragraph in paragraphs:
        if lines:
            lines.append("")
        lines += textwrap.wrap(paragraph, WIDTH - len(indent) - 3, break_on_hyphens=False)
    if len(lines) == 1 and not lines[0].endswith('"'):
        return [f'{indent}"""{lines[0]}"""']
    lines[0] = f'"""{lines[0]}'
    return [f"{indent}{line}".rstrip() for line in [*lines, '"""']]


class Schemas:
    """The types of the document, as they are found."""

    def __init__(self, components: dict[str, Schema]) -> None:
        self.components = components
        self.same = {json.dumps(schema, sort_keys=True): name for name, schema in components.items()}
        self.blocks: dict[str, list[str]] = {}
        self.bases: dict[str, list[str]] = {}

    def text(self) -> str:
        for name in sorted(self.components):
            self.define(class_name(name), self.components[name])
        lines = [f'"""The types of the API. {MADE}"""', "", "from __future__ import annotations", ""]
        lines.append("from typing import Any, Literal, TypeAlias, TypedDict")
        for name in self.ordered():
            lines += ["", "", *self.blocks[name]] if self.blocks[name][0].startswith(("class", "_")) else ["", *self.blocks[name]]
        return "\n".join(lines) + "\n"

    def ordered(self) -> list[str]:
        """Every name after those that it is made of."""
        done: list[str] = []

        def put(name: str) -> None:
            if name in done:
                return
            for base in self.bases.get(name, []):
                put(base)
            done.append(name)

        for name in sorted(self.blocks):
            put(name)
        return done

    def define(self, name: str, schema: Schema) -> None:
        if "properties" in schema or "allOf" in schema:
            self.record(name, schema)
            return
        kind = self.kind(schema, name)
        shown = kind if kind.startswith("Literal[") or kind in SCALARS.values() else json.dumps(kind)
        self.blocks[name] = [*comment(schema.get("description"), ""), f"{name}: TypeAlias = {shown}"]

    def record(self, name: str, schema: Schema) -> None:
        """An object with fields of its own, and those of the ones that it is made of."""
        bases = [class_name(part["$ref"].split("/")[-1]) for part in schema.get("allOf", []) if "$ref" in part]
        own = [part for part in schema.get("allOf", [schema]) if "$ref" not in part]
        if any("properties" not in part for part in own):
            raise SystemExit(f"generate: {name} is made of something else than objects")
        self.bases[name] = list(bases)
        fields = {field: kind for part in own for field, kind in part["properties"].items()}
        required = {field for part in own for field in part.get("required", [])}
        needed = {field: kind for field, kind in fields.items() if field in required}
        optional = {field: kind for field, kind in fields.items() if field not in required}
        block: list[str] = []
        if needed and optional:
            block += [*self.part(f"_{name}", bases, needed, name, total=True), "", ""]
            bases = [f"_{name}"]
        block += self.part(name, bases, optional or needed, name, total=not optional, text=schema.get("description"))
        self.blocks[name] = block

    def part(
        self, name: str, bases: list[str], fields: dict[str, Schema], whole: str, *, total: bool, text: str | None = None
    ) -> list[str]:
        """A class. Fields that are no names in Python stand in a base of their own."""
        lines: list[str] = []
        words = {field: kind for field, kind in fields.items() if keyword.iskeyword(field) or not field.isidentifier()}
        how = "" if total else ", total=False"
        if words:
            odd = f"_{name.lstrip('_')}{'Needed' if total else ''}Words"
            kinds = {field: self.kind(kind, whole + class_name(field)) for field, kind in words.items()}
            lines += [f"{odd} = TypedDict({json.dumps(odd)}, {json.dumps(kinds)}{how})", "", ""]
            bases = [*bases, odd]
        lines.append(f"class {name}({', '.join(bases or ['TypedDict'])}{how}):")
        if text:
            lines += [*docstring(text, "    "), ""]
        plain = {field: kind for field, kind in fields.items() if field not in words}
        for field, kind in plain.items():
            lines += comment(described(kind), "    ")
            lines.append(f"    {field}: {self.kind(kind, whole + class_name(field))}")
        if not plain:
            lines.append("    pass")
        return lines

    def kind(self, schema: Schema, name: str) -> str:
        """The type of a value; objects that have no name in the document get the one that is given."""
        if "$ref" in schema:
            return class_name(schema["$ref"].split("/")[-1])
        variants = schema.get("oneOf") or schema.get("anyOf")
        if variants:
            return self.variants(variants, name)
        if "enum" in schema:
            words = ", ".join(json.dumps(word) for word in schema["enum"])
            return f"Literal[{words}]"
        kind = schema.get("type")
        if isinstance(kind, list):
            return self.variants([{**schema, "type": one} for one in kind], name)
        if kind == "array":
            return f"list[{self.kind(schema.get('items', {}), name + 'Item')}]"
        if kind == "object":
            return self.object(schema, name)
        return SCALARS[kind] if kind else "Any"

    def variants(self, variants: list[Schema], name: str) -> str:
        several = sum("properties" in one for one in variants) > 1
        kinds: list[str] = []
        for one in variants:
            own = name + class_name(variant(one)) if several and "properties" in one else name
            kind = self.kind(one, own)
            if kind not in kinds:
                kinds.append(kind)
        return "Any" if "Any" in kinds else " | ".join(kinds)

    def object(self, schema: Schema, name: str) -> str:
        if "properties" in schema:
            same = self.same.get(json.dumps(schema, sort_keys=True))
            if same is not None:
                return class_name(same)
            if name in self.blocks or name in map(class_name, self.components):
                raise SystemExit(f"generate: {name} is the name of two things")
            self.record(name, schema)
            return name
        values = schema.get("additionalProperties")
        return f"dict[str, {self.kind(values, name + 'Value')}]" if isinstance(values, dict) else "dict[str, Any]"


def variant(schema: Schema) -> str:
    """What one of several objects is called: by the word that tells it from the others, else by its first field."""
    for kind in schema["properties"].values():
        if len(kind.get("enum", [])) == 1:
            return str(kind["enum"][0])
    return str(next(iter(schema["properties"])))


def described(schema: Schema) -> str | None:
    """What a field is for: its own description, or that beside its reference."""
    inner = [one["description"] for one in schema.get("oneOf", []) if "description" in one and "$ref" in one]
    return schema.get("description") or (inner[0] if inner else None)


class Api:
    """The operations of the document, a method each."""

    def __init__(self, schemas: Schemas, paths: dict[str, dict[str, Schema]]) -> None:
        self.schemas = schemas
        self.paths = paths

    def text(self) -> str:
        lines = [f'"""Every route of the API. {MADE}"""', "", "from __future__ import annotations", ""]
        lines += ["from typing import Any", "", "from . import schemas", "from .connection import Connection, quoted", "", ""]
        lines += ["class Api:", '    """Every route of the API, a method each, named as in its document."""', ""]
        lines += ["    def __init__(self, connection: Connection) -> None:", "        self._connection = connection"]
        for path, operations in self.paths.items():
            for verb, operation in operations.items():
                if asked_for(path, operation):
                    lines += ["", *self.method(verb.upper(), path, operation)]
        return "\n".join(lines) + "\n"

    def method(self, verb: str, path: str, operation: Schema) -> list[str]:
        name = operation["operationId"]
        parameters = operation.get("parameters", [])
        places = [one["name"] for one in parameters if one["in"] == "path"]
        query = [one for one in parameters if one["in"] == "query"]
        once = any(one["name"] == "Idempotency-Key" for one in parameters)
        body = operation.get("requestBody")
        answer, read = self.answer(operation)
        arguments = ["self", *(f"{python(place)}: str" for place in places)]
        if body:
            kind = self.shown(body["content"]["application/json"].get("schema", {}), class_name(name) + "Body")
            arguments.append(f"body: {kind}" if body.get("required") else f"body: {optional(kind)} = None")
        arguments += ["*"] if query or once else []
        arguments += [self.parameter(one, name) for one in sorted(query, key=lambda one: not one.get("required"))]
        arguments += ["idempotency_key: str | None = None"] if once else []
        url = path
        for place in places:
            url = url.replace(f"{{{place}}}", f"{{quoted({python(place)})}}")
        given = [json.dumps(verb), f'f"{url}"' if places else json.dumps(url)]
        given += ["body"] if body else []
        if query:
            entries = ", ".join(f"{json.dumps(one['name'])}: {python(one['name'])}" for one in query)
            given.append(f"query={{{entries}}}")
        given += ["idempotency_key=idempotency_key"] if once else []
        given += [f'read="{read}"'] if read != "json" else []
        call = f"        {'return ' if answer != 'None' else ''}self._connection.{'once' if once else 'call'}"
        wide = len(call) + sum(len(one) + 2 for one in given) > WIDTH
        call += f"(\n            {joined(given, 12)},\n        )" if wide else f"({', '.join(given)})"
        text = "\n\n".join(part for part in (f"{operation['summary']}.", operation.get("description")) if part)
        head = f"    def {name}({', '.join(arguments)}) -> {answer}:"
        if len(head) > WIDTH:
            head = f"    def {name}(\n        {joined(arguments, 8)},\n    ) -> {answer}:"
        return [head, *docstring(text, "        "), call]

    def parameter(self, parameter: Schema, operation: str) -> str:
        kind = self.shown(parameter["schema"], class_name(operation) + class_name(parameter["name"]))
        name = python(parameter["name"])
        return f"{name}: {kind}" if parameter.get("required") else f"{name}: {optional(kind)} = None"

    def answer(self, operation: Schema) -> tuple[str, str]:
        """The type of what a call answers, and how it is read."""
        good = [content for status, content in operation["responses"].items() if status.startswith("2")]
        contents = [one.get("content", {}) for one in good]
        kinds: list[str] = []
        for content in contents:
            if "application/json" in content:
                kind = self.shown(content["application/json"].get("schema", {}), class_name(operation["operationId"]) + "Answer")
                kinds += [] if kind in kinds else [kind]
        if kinds:
            return " | ".join(kinds), "json"
        types = [kind for content in contents for kind in content]
        if not types:
            return "None", "nothing"
        return ("str", "text") if all("text" in kind for kind in types) else ("bytes", "bytes")

    def shown(self, schema: Schema, name: str) -> str:
        """A type, as another module calls it. Words that have no name in the document get one."""
        if "enum" in schema:
            self.schemas.define(name, schema)
            return f"schemas.{name}"
        kinds = self.schemas.kind(schema, name).split(" | ")
        return " | ".join(kind if kind in (*SCALARS.values(), "Any") else f"schemas.{kind}" for kind in kinds)


def asked_for(path: str, operation: Schema) -> bool:
    """Providers' doors are not for programs of the team's, and what goes on and on is no answer."""
    types = [kind for answer in operation["responses"].values() for kind in answer.get("content", {})]
    return not path.startswith("/in/") and "text/event-stream" not in types


def optional(kind: str) -> str:
    return kind if kind.endswith("None") else f"{kind} | None"


def joined(parts: list[str], indent: int) -> str:
    """A line for each; a dictionary that is too long for one has a line for each entry."""
    inner = f",\n{' ' * (indent + 4)}"
    lines = []
    for part in parts:
        if len(part) + indent > WIDTH - 1 and part.startswith("query={"):
            part = "query={\n" + " " * (indent + 4) + inner.join(part[7:-1].split(", ")) + ",\n" + " " * indent + "}"
        lines.append(part)
    return f",\n{' ' * indent}".join(lines)


def python(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def main() -> None:
    document = json.loads(DOCUMENT.read_text())
    schemas = Schemas(document["components"]["schemas"])
    api = Api(schemas, document["paths"]).text()
    made = {PACKAGE / "api.py": api, PACKAGE / "schemas.py": schemas.text()}
    if "--check" not in sys.argv:
        for path, text in made.items():
            path.write_text(text)
        return
    stale = [path.name for path, text in made.items() if not path.exists() or path.read_text() != text]
    if stale:
        raise SystemExit(f"not made of docs/openapi.json as it is: {', '.join(stale)}; run python3 sdk/python/generate.py")


main()
