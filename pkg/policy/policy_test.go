package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/policy"
)

// win reads "kind; schedule; duration; zone".
func win(t testing.TB, text string) v1alpha1.Window {
	t.Helper()
	parts := strings.Split(text, "; ")
	d, err := time.ParseDuration(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	w := v1alpha1.Window{Kind: parts[0], Schedule: parts[1], Duration: metav1.Duration{Duration: d}}
	if len(parts) > 3 {
		w.TimeZone = parts[3]
	}
	return w
}

func moment(t testing.TB, text string) time.Time {
	t.Helper()
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestWindows(t *testing.T) {
	night := "deny; 0 22 * * *; 8h; Asia/Seoul" // 13:00 to 21:00 UTC
	office := "allow; 0 9 * * 1-5; 8h"          // of UTC
	lunch := "deny; 0 12 * * *; 1h"             // of UTC
	skipped := "deny; 30 2 * * *; 1h; Europe/Berlin"
	cases := map[string]struct {
		windows []string
		at      string
		open    bool
		until   string
		why     string
	}{
		"without windows it is always open":              {at: "2026-05-05T12:00:00Z", open: true},
		"a deny window closes":                           {windows: []string{night}, at: "2026-05-05T14:00:00Z", until: "2026-05-05T21:00:00Z", why: `closed by the deny window "0 22 * * *" for 8h, Asia/Seoul`},
		"from its very first moment":                     {windows: []string{night}, at: "2026-05-05T13:00:00Z", until: "2026-05-05T21:00:00Z", why: "deny"},
		"to just before its last":                        {windows: []string{night}, at: "2026-05-05T20:59:59.999Z", until: "2026-05-05T21:00:00Z", why: "deny"},
		"and then it is open until the next":             {windows: []string{night}, at: "2026-05-05T21:00:00Z", open: true, until: "2026-05-06T13:00:00Z"},
		"an allow window opens":                          {windows: []string{office}, at: "2026-05-05T09:00:00Z", open: true, until: "2026-05-05T17:00:00Z"},
		"outside of it it is closed":                     {windows: []string{office}, at: "2026-05-05T08:59:00Z", until: "2026-05-05T09:00:00Z", why: `outside of the allow window "0 9 * * 1-5" for 8h, UTC`},
		"over the weekend, too":                          {windows: []string{office}, at: "2026-05-08T17:00:00Z", until: "2026-05-11T09:00:00Z", why: "outside"},
		"denied beats allowed":                           {windows: []string{office, lunch}, at: "2026-05-05T12:30:00Z", until: "2026-05-05T13:00:00Z", why: "deny"},
		"allowed is until denied":                        {windows: []string{office, lunch}, at: "2026-05-05T09:30:00Z", open: true, until: "2026-05-05T12:00:00Z"},
		"denied where nothing is allowed changes no end": {windows: []string{office, "deny; 0 18 * * *; 1h"}, at: "2026-05-05T18:30:00Z", until: "2026-05-06T09:00:00Z", why: "deny"},
		"two allow windows are one":                      {windows: []string{"allow; 0 9 * * *; 2h", "allow; 0 11 * * *; 1h"}, at: "2026-05-05T10:00:00Z", open: true, until: "2026-05-05T12:00:00Z"},
		"and outside of both it is said so":              {windows: []string{"allow; 0 9 * * *; 2h", "allow; 0 11 * * *; 1h"}, at: "2026-05-05T13:00:00Z", until: "2026-05-06T09:00:00Z", why: "outside of all 2 allow windows"},
		"a span that runs into the next is one":          {windows: []string{"deny; 0 0,6 * * *; 7h"}, at: "2026-05-05T01:00:00Z", until: "2026-05-05T13:00:00Z", why: "deny"},
		"so is one that touches the next":                {windows: []string{"deny; 0 0,6 * * *; 6h"}, at: "2026-05-05T01:00:00Z", until: "2026-05-05T12:00:00Z", why: "deny"},
		"a rare window is found":                         {windows: []string{"allow; 0 0 29 2 *; 1h"}, at: "2026-05-05T00:00:00Z", until: "2028-02-29T00:00:00Z", why: "outside"},
		"the year turns":                                 {windows: []string{"deny; 0 22 * * *; 8h"}, at: "2026-12-31T23:00:00Z", until: "2027-01-01T06:00:00Z", why: "deny"},

		// Berlin, 2026-03-29: 02:00 CET is 03:00 CEST (01:00 UTC).
		"a window that begins in the skipped hour begins when the clock is put forward": {windows: []string{skipped}, at: "2026-03-29T01:00:00Z", until: "2026-03-29T02:00:00Z", why: "deny"},
		"not before":                           {windows: []string{skipped}, at: "2026-03-29T00:59:59Z", open: true, until: "2026-03-29T01:00:00Z"},
		"a day later it is by the clock again": {windows: []string{skipped}, at: "2026-03-30T00:29:00Z", open: true, until: "2026-03-30T00:30:00Z"},
		"the day before, too":                  {windows: []string{skipped}, at: "2026-03-28T01:30:00Z", until: "2026-03-28T02:30:00Z", why: "deny"},
		"one that lasts over the skipped hour is as long as ever": {windows: []string{"deny; 0 1 * * *; 4h; Europe/Berlin"}, at: "2026-03-29T03:59:00Z", until: "2026-03-29T04:00:00Z", why: "deny"},
		"one that begins just after the skipped hour":             {windows: []string{"deny; 0 3 * * *; 1h; Europe/Berlin"}, at: "2026-03-29T01:00:00Z", until: "2026-03-29T02:00:00Z", why: "deny"},
		// Berlin, 2026-10-25: 03:00 CEST is 02:00 CET (01:00 UTC).
		"a window that begins in the doubled hour begins twice":    {windows: []string{"deny; 30 2 * * *; 20m; Europe/Berlin"}, at: "2026-10-25T00:30:00Z", until: "2026-10-25T00:50:00Z", why: "deny"},
		"in between it is open":                                    {windows: []string{"deny; 30 2 * * *; 20m; Europe/Berlin"}, at: "2026-10-25T00:50:00Z", open: true, until: "2026-10-25T01:30:00Z"},
		"and here the second time":                                 {windows: []string{"deny; 30 2 * * *; 20m; Europe/Berlin"}, at: "2026-10-25T01:30:00Z", until: "2026-10-25T01:50:00Z", why: "deny"},
		"a long one lasts from the first to the end of the second": {windows: []string{"deny; 30 2 * * *; 3h; Europe/Berlin"}, at: "2026-10-25T00:30:00Z", until: "2026-10-25T04:30:00Z", why: "deny"},
		"at the first moment of the doubled hour":                  {windows: []string{"deny; 0 2 * * *; 30m; Europe/Berlin"}, at: "2026-10-25T01:00:00Z", until: "2026-10-25T01:30:00Z", why: "deny"},
		// New York, 2026-03-08 and 2026-11-01; Lord Howe shifts by half an hour, 2026-04-05 at 02:00 to 01:30.
		"on the other side of the ocean": {windows: []string{"deny; 15 2 * * *; 1h; America/New_York"}, at: "2026-03-08T07:00:00Z", until: "2026-03-08T08:00:00Z", why: "deny"},
		"where half an hour is doubled":  {windows: []string{"allow; 45 1 * * *; 10m; Australia/Lord_Howe"}, at: "2026-04-04T15:15:00Z", open: true, until: "2026-04-04T15:25:00Z"},
		// Apia skipped the whole of 2011-12-30.
		"where a day was skipped": {windows: []string{"deny; 0 12 30 * *; 1h; Pacific/Apia"}, at: "2011-12-30T10:30:00Z", until: "2011-12-30T11:00:00Z", why: "deny"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var given []v1alpha1.Window
			for _, text := range c.windows {
				given = append(given, win(t, text))
			}
			windows, err := policy.ParseWindows(given)
			if err != nil {
				t.Fatal(err)
			}
			got := windows.At(moment(t, c.at))
			if got.Open != c.open || !got.Until.Equal(moment(t, c.until)) {
				t.Errorf("open %v until %s, want %v until %s", got.Open, got.Until.UTC(), c.open, c.until)
			}
			if (c.why == "") != (got.Why == "") || !strings.Contains(got.Why, c.why) {
				t.Errorf("why %q, want %q", got.Why, c.why)
			}
		})
	}
}

func TestAWindowThatCannotBeReadNamesItsField(t *testing.T) {
	cases := map[string]struct{ window, field, text string }{
		"four fields":          {"deny; 0 22 * *; 1h", "schedule", "five fields"},
		"six fields":           {"deny; 0 0 22 * * *; 1h", "schedule", "five fields"},
		"a word":               {"deny; @midnight; 1h", "schedule", "five fields"},
		"an hour of none":      {"deny; 0 24 * * *; 1h", "schedule", "above maximum"},
		"a day that never is":  {"deny; 0 0 30 2 *; 1h", "schedule", "never comes"},
		"a zone within":        {"deny; CRON_TZ=UTC 0 22 * * *; 1h", "schedule", "timeZone"},
		"an unknown zone":      {"deny; 0 22 * * *; 1h; Mars/Olympus", "timeZone", "IANA"},
		"the machine's zone":   {"deny; 0 22 * * *; 1h; Local", "timeZone", "IANA"},
		"a path":               {"deny; 0 22 * * *; 1h; ../../etc/passwd", "timeZone", "IANA"},
		"no time":              {"deny; 0 22 * * *; 0s", "duration", "longer"},
		"neither of two kinds": {"maybe; 0 22 * * *; 1h", "kind", "allow or deny"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := policy.ParseWindows([]v1alpha1.Window{win(t, "allow; 0 9 * * *; 8h"), win(t, c.window)})
			if class, _ := fault.ClassOf(err); err == nil || class != fault.Permanent {
				t.Fatalf("error %v", err)
			}
			if want := "spec.sync.windows[1]." + c.field + ": "; !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %q, want %s…%s", err, want, c.text)
			}
		})
	}
}

// A clock that steps through a year minute by minute shows what At says, whatever
// the zone does: it is closed as long as a time of the schedule was shown less than
// the duration ago.
func TestAtAgreesWithAClockThatIsWatched(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"} {
		t.Run(zone, func(t *testing.T) {
			place, err := time.LoadLocation(zone)
			if err != nil {
				t.Fatal(err)
			}
			windows, err := policy.ParseWindows([]v1alpha1.Window{win(t, "deny; 10 1,2 * * *; 37m; "+zone)})
			if err != nil {
				t.Fatal(err)
			}
			for _, day := range []string{"2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"} {
				begin := moment(t, day+"T00:00:00Z").Add(-26 * time.Hour)
				shown := time.Time{} // when a time of the schedule was last shown, or skipped
				before := begin.In(place)
				for at := begin; at.Before(begin.Add(60 * time.Hour)); at = at.Add(time.Minute) {
					now := at.In(place)
					if minute(now) || skips(before, now) {
						shown = at
					}
					before = now
					closed := !shown.IsZero() && at.Sub(shown) < 37*time.Minute
					if got := windows.At(at); got.Open == closed && at.Sub(begin) > time.Hour {
						t.Fatalf("at %s open is %v", now, got.Open)
					}
				}
			}
		})
	}
}

func minute(t time.Time) bool { return t.Minute() == 10 && (t.Hour() == 1 || t.Hour() == 2) }

// skips says whether the clock jumped over a time of the schedule.
func skips(before, now time.Time) bool {
	_, b := before.Zone()
	_, n := now.Zone()
	for shown := 1; shown < (n-b)/60+1; shown++ {
		if minute(before.UTC().Add(time.Duration(b)*time.Second + time.Duration(shown)*time.Minute)) {
			return true
		}
	}
	return false
}

// What is always closed is looked at again now and then, and not every minute.
func TestASearchIsBounded(t *testing.T) {
	windows, err := policy.ParseWindows([]v1alpha1.Window{
		win(t, "deny; * * * * *; 24h"), win(t, "allow; */7 * * * *; 1m"), win(t, "allow; * * * * *; 1m"),
	})
	if err != nil {
		t.Fatal(err)
	}
	now := moment(t, "2026-05-05T12:00:00Z")
	got := windows.At(now)
	if got.Open || got.Until.Before(now.Add(24*time.Hour)) {
		t.Errorf("%+v", got)
	}
}

func TestSuspension(t *testing.T) {
	now := moment(t, "2026-05-05T12:00:00Z")
	later, earlier := metav1.NewTime(now.Add(time.Hour)), metav1.NewTime(now)
	cases := map[string]struct {
		spec v1alpha1.ApplicationSpec
		want bool
		text string
	}{
		"one that is not": {spec: v1alpha1.ApplicationSpec{Suspension: &v1alpha1.Suspension{Until: &later}}},
		"one for ever":    {spec: v1alpha1.ApplicationSpec{Suspend: true}, want: true, text: "suspended until spec.suspend is false"},
		"one with all that can be said": {
			spec: v1alpha1.ApplicationSpec{Suspend: true, Suspension: &v1alpha1.Suspension{By: "ann", Reason: "a migration", Until: &later}},
			want: true, text: "suspended by ann until 2026-05-05T13:00:00Z: a migration",
		},
		"one whose end has come": {spec: v1alpha1.ApplicationSpec{Suspend: true, Suspension: &v1alpha1.Suspension{Until: &earlier}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := &v1alpha1.Application{Spec: c.spec}
			if got := policy.Suspended(a, now); got != c.want {
				t.Errorf("suspended %v, want %v", got, c.want)
			}
			if c.want {
				if diff := cmp.Diff(c.text, policy.Suspension(a)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}
