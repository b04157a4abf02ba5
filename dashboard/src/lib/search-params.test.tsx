import { act, renderHook } from "@testing-library/react";
import { beforeEach, describe, expect, it } from "vitest";
import { given, instant, oneOf, readParams, text, useFilters, useParamsInUrl, writeParams } from "./search-params";

const spec = { q: text(), status: oneOf(["", "error", "success"], ""), from: instant() };

describe("parameters in the URL", () => {
  it("reads what fits and falls back where it does not", () => {
    expect(readParams(spec, "?q=evt_1&status=error&from=2026-01-02T03:04:05Z")).toEqual({
      q: "evt_1",
      status: "error",
      from: "2026-01-02T03:04:05Z",
    });
    expect(readParams(spec, "?status=nonsense&from=yesterday")).toEqual({ q: "", status: "", from: "" });
  });

  it("leaves fallbacks out of the URL", () => {
    expect(writeParams(spec, "?q=a&status=error", { status: "" })).toBe("q=a");
    expect(writeParams(spec, "", { q: "" })).toBe("");
  });

  it("keeps the parameters of others", () => {
    expect(writeParams(spec, "?window=24h&q=a", { q: "b" })).toBe("window=24h&q=b");
  });

  it("survives a round trip with characters that URLs escape", () => {
    const written = writeParams(spec, "", { q: "a&b=c #ü*" });
    expect(readParams(spec, `?${written}`).q).toBe("a&b=c #ü*");
  });

  describe("as a hook", () => {
    beforeEach(() => history.replaceState(null, "", "/events?status=error"));

    it("follows and writes the address", () => {
      const { result } = renderHook(() => useParamsInUrl(spec));
      expect(result.current[0].status).toBe("error");
      act(() => result.current[1]({ q: "evt_9" }));
      expect(location.search).toBe("?status=error&q=evt_9");
      expect(result.current[0]).toEqual({ q: "evt_9", status: "error", from: "" });
    });

    it("does not lose the first of two changes made at once", () => {
      const { result } = renderHook(() => useParamsInUrl(spec));
      act(() => {
        result.current[1]({ q: "a" });
        result.current[1]({ status: "success" });
      });
      expect(result.current[0]).toEqual({ q: "a", status: "success", from: "" });
    });
  });
});

describe("filters", () => {
  beforeEach(() => history.replaceState(null, "", "/events?status=error&other=1"));

  it("know whether any is set, and are cleared all at once", () => {
    const { result } = renderHook(() => useFilters(spec));
    expect(result.current.filtered).toBe(true);
    act(() => result.current.clear());
    expect(result.current.filtered).toBe(false);
    expect(location.search).toBe("?other=1");
  });

  it("ask the API only for what is set", () => {
    expect(given({ q: "", status: "error" })).toEqual({ status: "error" });
  });
});
