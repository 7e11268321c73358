package bus

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func pushEvent(change func(*event.Event)) event.Event {
	e := event.Event{
		ID: "1", Source: "/local/receiver", Type: event.GitPush, Subject: "github.com/acme/config",
		Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC),
		Data: &eventsv1.GitPush{Repo: "github.com/acme/config", Ref: "refs/heads/main"},
	}
	change(&e)
	return e
}

func TestAnEventIsWrittenAsTheNATSBindingDoes(t *testing.T) {
	e := pushEvent(func(e *event.Event) {
		e.Trace, e.Cause = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "0"
	})
	msg, err := encode(e)
	if err != nil {
		t.Fatal(err)
	}
	want := nats.Header{
		"ce-specversion": {"1.0"},
		"ce-id":          {"1"},
		"ce-source":      {"/local/receiver"},
		"ce-type":        {"dev.plumb.git.push.v1"},
		"ce-subject":     {"github.com/acme/config"},
		"ce-time":        {"2026-01-02T03:04:05.0000006Z"},
		"ce-traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"ce-cause":       {"0"},
		"content-type":   {"application/json"},
	}
	if diff := cmp.Diff(want, msg.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if want := "plumb.events.git.push.github=2Ecom=2Facme=2Fconfig"; msg.Subject != want {
		t.Errorf("subject %q, want %q", msg.Subject, want)
	}
	if strings.Contains(string(msg.Data), "ce-") || !strings.HasPrefix(string(msg.Data), "{") {
		t.Errorf("data %s, want protojson alone", msg.Data)
	}
}

func TestHeaderValuesAreEscapedAndReadBack(t *testing.T) {
	for name, c := range map[string]struct{ value, wire string }{
		"plain text stays":                  {"acme/config~!#$&'()*+,;=?@[]", "acme/config~!#$&'()*+,;=?@[]"},
		"a blank":                           {"a b", "a%20b"},
		"CR and LF start no header":         {"a\r\nNats-Rollup: all", "a%0D%0ANats-Rollup:%20all"},
		"NUL":                               {"a\x00b", "a%00b"},
		"percent, as in an escape":          {"100%25", "100%2525"},
		"a double quote":                    {`say "hi"`, "say%20%22hi%22"},
		"unicode, byte by byte":             {"Gr\u00fc\u00dfe \u20ac", "Gr%C3%BC%C3%9Fe%20%E2%82%AC"},
		"delete and the first beyond ASCII": {"\x7f\u0080", "%7F%C2%80"},
	} {
		t.Run(name, func(t *testing.T) {
			msg, err := encode(pushEvent(func(e *event.Event) { e.Subject, e.Cause = c.value, c.value }))
			if err != nil {
				t.Fatal(err)
			}
			if got := msg.Header["ce-subject"][0]; got != c.wire {
				t.Errorf("wire form %q, want %q", got, c.wire)
			}
			back, err := decode(msg.Subject, msg.Header, msg.Data)
			if err != nil {
				t.Fatal(err)
			}
			if back.Subject != c.value || back.Cause != c.value {
				t.Errorf("read back %q and %q, want %q", back.Subject, back.Cause, c.value)
			}
		})
	}
}

func TestWhatIsNotTextIsNotWritten(t *testing.T) {
	_, err := encode(pushEvent(func(e *event.Event) { e.Subject = "a\xffb" }))
	if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
		t.Errorf("error %v, want a permanent fault", err)
	}
}

func TestAnEventReadIsTheEventWritten(t *testing.T) {
	want := pushEvent(func(e *event.Event) { e.Trace, e.Cause = "00-aa-bb-01", "cause" })
	msg, err := encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(msg.Subject, msg.Header, msg.Data)
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("error %v, difference (-want +got):\n%s", err, diff)
	}
}

func TestWhatCannotBeReadIsRefusedForGood(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*nats.Msg)
		says  string
	}{
		"no headers at all":           {func(m *nats.Msg) { m.Header = nil }, "unknown Message encoding"},
		"another CloudEvents version": {func(m *nats.Msg) { m.Header["ce-specversion"] = []string{"0.3"} }, "unknown Message encoding"},
		"header names of HTTP":        {func(m *nats.Msg) { m.Header["Ce-Id"] = m.Header["ce-id"]; delete(m.Header, "ce-id") }, "id: MUST be a non-empty string"},
		"an empty header":             {func(m *nats.Msg) { m.Header["ce-id"] = nil }, "id is required"},
		"an unknown type":             {func(m *nats.Msg) { m.Header["ce-type"] = []string{"dev.plumb.git.push.v2"} }, `unknown type "dev.plumb.git.push.v2"`},
		"a cut escape":                {func(m *nats.Msg) { m.Header["ce-id"] = []string{"a%2"} }, "ends within an escape"},
		"a bad escape":                {func(m *nats.Msg) { m.Header["ce-id"] = []string{"a%zz"} }, "bad escape"},
		"an escape of no text":        {func(m *nats.Msg) { m.Header["ce-id"] = []string{"%FF"} }, "not valid UTF-8"},
		"a time that is none":         {func(m *nats.Msg) { m.Header["ce-time"] = []string{"yesterday"} }, "yesterday"},
		"data that is no JSON":        {func(m *nats.Msg) { m.Data = []byte("\x00\x01") }, "decode data of dev.plumb.git.push.v1 1"},
		"data of another shape":       {func(m *nats.Msg) { m.Data = []byte(`{"repo": []}`) }, "decode data of dev.plumb.git.push.v1 1"},
		"data that is too large":      {func(m *nats.Msg) { m.Data = make([]byte, event.MaxData+1) }, "262145 bytes of data, at most 262144"},
		"another repo's subject":      {func(m *nats.Msg) { m.Subject = "plumb.events.git.push.other" }, `came on "plumb.events.git.push.other"`},
	} {
		t.Run(name, func(t *testing.T) {
			msg, err := encode(pushEvent(func(*event.Event) {}))
			if err != nil {
				t.Fatal(err)
			}
			c.spoil(msg)
			_, err = decode(msg.Subject, msg.Header, msg.Data)
			if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
				t.Fatalf("error %v, want a permanent fault", err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
		})
	}
}

func TestUnknownFieldsAndHeadersAreIgnored(t *testing.T) {
	msg, err := encode(pushEvent(func(*event.Event) {}))
	if err != nil {
		t.Fatal(err)
	}
	msg.Header["x-other"] = []string{"%zz"}
	msg.Header["ce-newer"] = []string{"value"}
	msg.Data = append([]byte(`{"newer": {"a": 1}, `), msg.Data[1:]...)
	if _, err := decode(msg.Subject, msg.Header, msg.Data); err != nil {
		t.Error(err)
	}
}

func TestMessageIDsFitAHeader(t *testing.T) {
	for name, c := range map[string]struct{ id, want string }{
		"an ordinary one stays":  {"acme/72d3162e-cc78-11e3-81ab-4c9367dc0958/0", "acme/72d3162e-cc78-11e3-81ab-4c9367dc0958/0"},
		"line ends are escaped":  {"x\r\nNats-Rollup: all", "x%0D%0ANats-Rollup:%20all"},
		"the longest that stays": {strings.Repeat("x", 256), strings.Repeat("x", 256)},
		"a longer one is hashed": {strings.Repeat("x", 257), "sha256:15eb95a462ee20bd91a415ae2d4aed341288186ddaa2b37908f7d592f0c3f85f"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, messageID(c.id)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("1.0", "1", "dev.plumb.git.push.v1", "%41", []byte(`{"repo":"a"}`))
	f.Add("0.3", "", "x", "%", []byte("\xff"))
	f.Fuzz(func(t *testing.T, version, id, kind, subject string, data []byte) {
		header := nats.Header{
			"ce-specversion": {version}, "ce-id": {id}, "ce-type": {kind}, "ce-subject": {subject},
			"ce-source": {"/a/b"}, "content-type": {"application/json"},
		}
		e, err := decode("plumb.events.git.push.a", header, data)
		if class, _ := fault.ClassOf(err); err != nil && class != fault.Permanent {
			t.Fatalf("error %v of class %s, want permanent", err, class)
		}
		if err != nil {
			return
		}
		msg, err := encode(e)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := decode(msg.Subject, msg.Header, msg.Data)
		if diff := cmp.Diff(e, again, protocmp.Transform()); err != nil || diff != "" {
			t.Fatalf("error %v, difference:\n%s", err, diff)
		}
	})
}

func FuzzEscape(f *testing.F) {
	f.Add("a b%\r\n\x00\u20ac\"")
	f.Fuzz(func(t *testing.T, s string) {
		wire := escape(s)
		if i := strings.IndexFunc(wire, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }); i >= 0 {
			t.Fatalf("%q holds %q", wire, wire[i])
		}
		back, err := unescape(wire)
		if err == nil && back != s {
			t.Fatalf("read back %q, want %q", back, s)
		}
		if err != nil && strings.ToValidUTF8(s, "") == s {
			t.Fatalf("valid text refused: %v", err)
		}
	})
}
