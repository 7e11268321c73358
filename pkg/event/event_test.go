package event

import (
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func sample() Event {
	return Event{
		ID: "1", Source: SourceOf("local", "receiver"), Type: GitPush, Subject: "h/a", Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Cause: "0",
		Data: &eventsv1.GitPush{Repo: "h/a", Ref: "refs/heads/main", DeliveryId: "d"},
	}
}

func TestEveryTypeComesBackAsItWent(t *testing.T) {
	for kind, about := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			want := sample()
			want.Type, want.Data = kind, about.data()
			ce, err := want.CloudEvent()
			if err != nil {
				t.Fatal(err)
			}
			got, err := FromCloudEvent(ce)
			if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestDataIsLowerCamelCaseJSON(t *testing.T) {
	ce, err := sample().CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	compact := strings.ReplaceAll(string(ce.Data()), " ", "")
	if want := `{"repo":"h/a","ref":"refs/heads/main","deliveryId":"d"}`; compact != want {
		t.Errorf("data %s, want %s", compact, want)
	}
	if ce.DataContentType() != "application/json" || ce.SpecVersion() != "1.0" {
		t.Errorf("content type %q, version %q", ce.DataContentType(), ce.SpecVersion())
	}
}

func TestWhatIsNoEventIsNotWritten(t *testing.T) {
	for name, spoil := range map[string]func(*Event){
		"no id":      func(e *Event) { e.ID = "" },
		"no source":  func(e *Event) { e.Source = "" },
		"no type":    func(e *Event) { e.Type = "" },
		"not UTF-8":  func(e *Event) { e.Data = &eventsv1.GitPush{Repo: "\xff"} },
		"over limit": func(e *Event) { e.Data = &eventsv1.GitPush{Repo: strings.Repeat("x", MaxData)} },
	} {
		e := sample()
		spoil(&e)
		_, err := e.CloudEvent()
		if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
			t.Errorf("%s: error %v, want a permanent fault", name, err)
		}
	}
}

func TestWhatIsNoEventIsNotRead(t *testing.T) {
	for name, spoil := range map[string]func(*cloudevents.Event){
		"no id":                 func(ce *cloudevents.Event) { ce.SetID("") },
		"an unknown type":       func(ce *cloudevents.Event) { ce.SetType("dev.plumb.git.push.v2") },
		"no data":               func(ce *cloudevents.Event) { ce.DataEncoded = nil },
		"data that is no JSON":  func(ce *cloudevents.Event) { ce.DataEncoded = []byte("{") },
		"data of another shape": func(ce *cloudevents.Event) { ce.DataEncoded = []byte(`{"repo": 1}`) },
		"a list":                func(ce *cloudevents.Event) { ce.DataEncoded = []byte(`[]`) },
		"deep nesting":          func(ce *cloudevents.Event) { ce.DataEncoded = []byte(strings.Repeat(`{"a":`, 20_000)) },
	} {
		ce, err := sample().CloudEvent()
		if err != nil {
			t.Fatal(err)
		}
		spoil(&ce)
		_, err = FromCloudEvent(ce)
		if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
			t.Errorf("%s: error %v, want a permanent fault", name, err)
		}
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	ce, err := sample().CloudEvent()
	if err != nil {
		t.Fatal(err)
	}
	ce.DataEncoded = []byte(`{"repo":"h/a","newer":{"x":[1]}}`)
	got, err := FromCloudEvent(ce)
	if err != nil || !proto.Equal(got.Data, &eventsv1.GitPush{Repo: "h/a"}) {
		t.Errorf("%v, error %v", got.Data, err)
	}
}

func FuzzFromCloudEvent(f *testing.F) {
	f.Add("1", "/local/x", string(GitPush), "h/a", []byte(`{"repo":"h/a"}`))
	f.Add("1", "/local/x", string(SyncFinished), "n/a", []byte(`{"stages":[{"name":"fetch","duration":"1s"}]}`))
	f.Add("", "", "", "", []byte("\xff"))
	f.Fuzz(func(t *testing.T, id, source, kind, subject string, data []byte) {
		ce := cloudevents.New(cloudevents.CloudEventsVersionV1)
		ce.SetID(id)
		ce.SetSource(source)
		ce.SetType(kind)
		ce.SetSubject(subject)
		ce.SetDataContentType(cloudevents.ApplicationJSON)
		ce.DataEncoded = data
		e, err := FromCloudEvent(ce)
		if class, _ := fault.ClassOf(err); err != nil && class != fault.Permanent {
			t.Fatalf("error %v of class %s, want permanent", err, class)
		}
		if err != nil {
			return
		}
		if _, err := e.BusSubject(); err != nil {
			t.Errorf("what was read has no subject: %v", err)
		}
		again, err := e.CloudEvent()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := FromCloudEvent(again)
		if diff := cmp.Diff(e, back, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("error %v, difference:\n%s", err, diff)
		}
	})
}
