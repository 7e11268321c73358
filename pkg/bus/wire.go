package bus

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/nats-io/nats.go"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
)

// Headers of CloudEvents in binary mode (CloudEvents NATS protocol binding 1.0,
// section 3.1). NATS header names are case-sensitive: these are the exact names.
const (
	attributePrefix   = "ce-"
	contentTypeHeader = "content-type"
)

var versions = spec.WithPrefix(attributePrefix)

// encode returns the message of an event, to be published on its own subject.
func encode(e event.Event) (*nats.Msg, error) {
	subject, err := e.BusSubject()
	if err != nil {
		return nil, err
	}
	ce, err := e.CloudEvent()
	if err != nil {
		return nil, err
	}
	header, err := headers(ce)
	if err != nil {
		return nil, fault.Refuse("", fault.Place{}, "encode %s %s: %w", e.Type, e.ID, err)
	}
	return &nats.Msg{Subject: subject, Header: header, Data: ce.Data()}, nil
}

// headers are the attributes of an event in binary mode. The SDK's binding.Write makes the
// same of them, with twice the allocations.
func headers(ce cloudevents.Event) (nats.Header, error) {
	h := attributes{header: make(nats.Header, most), values: make([]string, 0, most)}
	h.set(versions.PrefixedSpecVersionName(), ce.SpecVersion())
	h.set(attributePrefix+"id", ce.ID())
	h.set(attributePrefix+"source", ce.Source())
	h.set(attributePrefix+"type", ce.Type())
	h.set(contentTypeHeader, ce.DataContentType())
	h.set(attributePrefix+"subject", ce.Subject())
	if !ce.Time().IsZero() {
		h.set(attributePrefix+"time", types.FormatTime(ce.Time()))
	}
	for name, value := range ce.Extensions() {
		text, err := types.Format(value)
		if err != nil {
			return nil, fmt.Errorf("format %s: %w", name, err)
		}
		h.set(attributePrefix+name, text)
	}
	return h.header, h.err
}

// most is how many headers an event has, the message id included.
const most = 10

// attributes collects headers; what is absent is left out.
type attributes struct {
	header nats.Header
	values []string // of all headers
	err    error
}

func (a *attributes) set(name, text string) {
	switch {
	case text == "":
	case !utf8.ValidString(text):
		a.err = fmt.Errorf("format %s: not valid UTF-8", name)
	default:
		n := len(a.values)
		a.values = append(a.values, escape(text))
		a.header[name] = a.values[n : n+1 : n+1]
	}
}

// decode reads a message that came on a subject. Everything it refuses is a
// permanent fault: the same bytes never get better.
func decode(subject string, header nats.Header, data []byte) (event.Event, error) {
	if len(data) > event.MaxData {
		return event.Event{}, fault.Refuse("", fault.Place{}, "read event: %d bytes of data, at most %d", len(data), event.MaxData)
	}
	ce, err := binding.ToEvent(context.Background(), &messageReader{header: header, data: data})
	if err != nil {
		return event.Event{}, fault.Refuse("", fault.Place{}, "read event: %w", err)
	}
	e, err := event.FromCloudEvent(*ce)
	if err != nil {
		return event.Event{}, err
	}
	if want, err := e.BusSubject(); err != nil || want != subject {
		return event.Event{}, fault.Refuse("", fault.Place{}, "read event %s: it came on %q and its data belongs on %q", e.ID, subject, want)
	}
	return e, nil
}

// messageReader gives a NATS message to the binding.
type messageReader struct {
	header nats.Header
	data   []byte
}

func (m *messageReader) first(name string) string {
	if values := m.header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// ReadEncoding is binary for an event of a version that the SDK knows; there is
// no structured mode on our streams.
func (m *messageReader) ReadEncoding() binding.Encoding {
	if m.first(versions.PrefixedSpecVersionName()) == cloudevents.CloudEventsVersionV1 {
		return binding.EncodingBinary
	}
	return binding.EncodingUnknown
}

func (m *messageReader) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m *messageReader) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	version := versions.Version(cloudevents.CloudEventsVersionV1)
	for name := range m.header {
		if err := m.read(version, name, w); err != nil {
			return err
		}
	}
	return w.SetData(bytes.NewReader(m.data))
}

func (m *messageReader) read(version spec.Version, name string, w binding.BinaryWriter) error {
	attribute := version.Attribute(name)
	switch {
	case name == contentTypeHeader:
		attribute = version.AttributeFromKind(spec.DataContentType)
	case !strings.HasPrefix(name, attributePrefix):
		return nil
	}
	value, err := unescape(m.first(name))
	if err != nil {
		return fmt.Errorf("header %s: %w", name, err)
	}
	if attribute != nil {
		return w.SetAttribute(attribute, value)
	}
	return w.SetExtension(strings.TrimPrefix(name, attributePrefix), value)
}

func (m *messageReader) GetAttribute(spec.Kind) (spec.Attribute, any) { return nil, nil }
func (m *messageReader) GetExtension(string) any                      { return nil }

var (
	_ binding.MessageReader = (*messageReader)(nil)
	_ format.Format         = format.JSON
)

const upperHex = "0123456789ABCDEF"

// escape percent-encodes a header value as CloudEvents does over HTTP (HTTP
// binding 1.0.2, section 3.1.3.2): space, double quote, percent and all bytes
// outside U+0021 to U+007E. NATS itself would let NUL through and turn CR and LF
// into blanks.
func escape(s string) string {
	at := 0
	for at < len(s) && !escapes(s[at]) {
		at++
	}
	if at == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:at])
	for i := at; i < len(s); i++ {
		if !escapes(s[i]) {
			b.WriteByte(s[i])
			continue
		}
		b.WriteByte('%')
		b.WriteByte(upperHex[s[i]>>4])
		b.WriteByte(upperHex[s[i]&15])
	}
	return b.String()
}

func escapes(c byte) bool { return c <= ' ' || c > '~' || c == '"' || c == '%' }

// unescape reads what escape writes; a percent sign without two hex digits and
// what is not UTF-8 afterwards is refused.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("%q ends within an escape", s)
		}
		high, low := unhex(s[i+1]), unhex(s[i+2])
		if high < 0 || low < 0 {
			return "", fmt.Errorf("%q holds a bad escape", s)
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	if !utf8.ValidString(b.String()) {
		return "", fmt.Errorf("%q is not valid UTF-8", s)
	}
	return b.String(), nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
