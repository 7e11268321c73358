package cli_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/plumb-gitops/plumb/pkg/cli"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

const first, second = "0123456789abcdef", "fedcba9876543210"

func waits(digest string) *eventsv1.AnswerDiff {
	s := proto.CloneOf(planned)
	if digest != "" {
		s.Digest, s.Blocked, s.Deletions, s.Omitted = digest, "would delete 5 of 6 objects", []string{"/ConfigMap/live/a", "/ConfigMap/live/b"}, 3
	}
	return &eventsv1.AnswerDiff{Summary: s}
}

// plan has the worker answer with one plan after the other, the last one for ever,
// and an attempt end as given after a confirmation. It returns the confirmed digests.
func (w *world) plan(t *testing.T, end *eventsv1.ApplicationState, digests ...string) func() []string {
	w.put(t, web("local"))
	w.answers(t, "diff", &eventsv1.AskDiff{}, func(proto.Message) []proto.Message {
		now := digests[0]
		if len(digests) > 1 {
			digests = digests[1:]
		}
		return []proto.Message{waits(now)}
	})
	var mu sync.Mutex
	var confirmed []string
	w.answers(t, "confirm", &eventsv1.AskConfirm{}, func(m proto.Message) []proto.Message {
		mu.Lock()
		defer mu.Unlock()
		confirmed = append(confirmed, m.(*eventsv1.AskConfirm).GetDigest())
		if err := w.bus.PutState(context.Background(), end); err != nil {
			t.Error(err)
		}
		return []proto.Message{&eventsv1.AnswerConfirm{RequestId: "r1"}}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return confirmed
	}
}

func TestConfirmAsksForJustWhatItShows(t *testing.T) {
	done := attempt("r1", "succeeded", "", "")
	again := attempt("r1", "failed", "PruneBlocked", "would delete more")
	for sentence, c := range map[string]struct {
		plans     []string
		args      []string
		typed     string
		terminal  bool
		end       *eventsv1.ApplicationState
		code      int
		want      []string
		confirmed string
	}{
		"a yes on the terminal":              {[]string{first}, nil, "yes\n", true, done, 0, []string{"delete ConfigMap live/a", "and 3 more", "digest: " + first, "Delete these 5?", "succeeded"}, first},
		"nothing else than a yes":            {[]string{first}, nil, "y\n", true, done, 1, []string{"nothing was confirmed"}, ""},
		"no silence":                         {[]string{first}, nil, "", true, done, 1, []string{"read the answer"}, ""},
		"no pipe":                            {[]string{first}, nil, "yes\n", false, done, 2, []string{"plumb confirm team-a/web " + first + " --yes"}, ""},
		"its digest and --yes":               {[]string{first}, []string{first, "--yes"}, "", false, done, 0, []string{"succeeded"}, first},
		"not another digest":                 {[]string{first}, []string{second, "--yes"}, "", false, done, 1, []string{"the plan is another one now", "plumb confirm team-a/web " + first}, ""},
		"a digest on the terminal, too":      {[]string{first}, []string{first}, "yes\n", true, done, 0, []string{"succeeded"}, first},
		"nothing, when nothing waits":        {[]string{""}, nil, "", false, done, 0, []string{"nothing waits for a confirmation"}, ""},
		"and tells a plan that changed then": {[]string{first, second}, []string{first, "--yes"}, "", false, again, 1, []string{"the plan is another one now", "plumb confirm team-a/web " + second}, first},
		"and tells a failure":                {[]string{first, ""}, []string{first, "--yes"}, "", false, attempt("r1", "failed", "ApplyFailed", "no"), 1, []string{"ApplyFailed: no"}, first},
		"no digest that is none":             {[]string{first}, []string{"0123"}, "", false, done, 2, []string{"is no digest of a plan"}, ""},
		"no --yes to what nobody saw":        {[]string{first}, []string{"--yes"}, "", false, done, 2, []string{"--yes needs the digest"}, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := start(t)
			confirmed := w.plan(t, c.end, c.plans...)
			w.subscribed(t)
			var out strings.Builder
			code := cli.Main(append([]string{"confirm", "team-a/web"}, c.args...), cli.Env{
				In: strings.NewReader(c.typed), Out: &out, Err: &out, Getenv: func(k string) string { return w.env[k] },
				Terminal: func(any) bool { return c.terminal },
			})
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in:\n%s", want, out.String())
				}
			}
			if got := strings.Join(confirmed(), " "); code != c.code || got != c.confirmed {
				t.Errorf("exit code %d, want %d; confirmed is %q, want %q\n%s", code, c.code, got, c.confirmed, out.String())
			}
		})
	}
}

// subscribed waits until the questions reach somebody, without asking one that counts.
func (w *world) subscribed(t *testing.T) {
	t.Helper()
	w.answers(t, "ready", &eventsv1.AskSync{}, func(proto.Message) []proto.Message { return []proto.Message{&eventsv1.AnswerSync{}} })
	for {
		if err := w.bus.Ask(t.Context(), "local", "ready", &eventsv1.AskSync{}, &eventsv1.AnswerSync{}); err == nil {
			return
		}
	}
}

func TestConfirmServesSets(t *testing.T) {
	blocked := &eventsv1.AnswerConfirm{Plan: first, Deletions: []string{"a", "b"}, Ready: "False", Reason: "PruneBlocked", Message: "would delete 2"}
	for sentence, c := range map[string]struct {
		states []*eventsv1.AnswerConfirm // before and after the confirmation
		code   int
		want   []string
	}{
		"that wait": {
			[]*eventsv1.AnswerConfirm{blocked, blocked, blocked, {Confirmed: first, Ready: "True", Message: "2 Applications"}}, 0,
			[]string{"delete Application team-a/a", "set/team-a/all: confirmed", "done, 2 Applications"},
		},
		"that changed meanwhile": {
			[]*eventsv1.AnswerConfirm{blocked, blocked, {Confirmed: first, Plan: second, Deletions: []string{"c"}, Ready: "False", Reason: "PruneBlocked"}}, 1,
			[]string{"delete Application team-a/c", "plumb confirm set/team-a/all " + second},
		},
		"that fail": {
			[]*eventsv1.AnswerConfirm{blocked, blocked, {Confirmed: first, Ready: "False", Reason: "ApplyFailed", Message: "forbidden"}}, 1,
			[]string{"set/team-a/all: ApplyFailed: forbidden"},
		},
		"that wait for nothing": {[]*eventsv1.AnswerConfirm{{Ready: "True"}}, 0, []string{"set/team-a/all: nothing waits for a confirmation"}},
		"that are not there":    {[]*eventsv1.AnswerConfirm{{Error: "there is no ApplicationSet", ErrorCode: "NotFound"}}, 1, []string{"there is no ApplicationSet"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := start(t)
			w.put(t, web("local"))
			states := c.states
			w.answers(t, "confirm", &eventsv1.AskConfirm{}, func(proto.Message) []proto.Message {
				now := states[0]
				if len(states) > 1 {
					states = states[1:]
				}
				return []proto.Message{now}
			})
			w.subscribed(t)
			code, out, errs := w.patient(t, "confirm", "set/team-a/all", first, "--yes")
			for _, want := range c.want {
				if !strings.Contains(out+errs, want) {
					t.Errorf("%q is not in:\n%s%s", want, out, errs)
				}
			}
			if code != c.code {
				t.Errorf("exit code %d, want %d:\n%s%s", code, c.code, out, errs)
			}
		})
	}
}
