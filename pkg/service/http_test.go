package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/telemetry"
)

func TestAdminTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	defer close(hang)
	fine := func(context.Context) error { return nil }
	for sentence, c := range map[string]struct {
		path   string
		checks []service.Check
		status int
		body   string
	}{
		"alive, whatever the checks say": {"/healthz", []service.Check{{Name: "bus", Ready: func(context.Context) error { return errors.New("away") }}}, 200, "ok\n"},
		"ready without checks":           {"/readyz", nil, 200, ""},
		"ready with all checks":          {"/readyz", []service.Check{{Name: "bus", Ready: fine}, {Name: "cluster", Ready: fine}}, 200, "bus: ok\ncluster: ok\n"},
		"not ready, naming the check":    {"/readyz", []service.Check{{Name: "bus", Ready: func(context.Context) error { return errors.New("away") }}, {Name: "cluster", Ready: fine}}, 503, "bus: away\ncluster: ok\n"},
		"not ready, when a check hangs":  {"/readyz", []service.Check{{Name: "bus", Ready: func(context.Context) error { <-hang; return nil }}}, 503, "bus: no answer within 2s\n"},
		"nothing elsewhere":              {"/", nil, 404, "404 page not found\n"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := httptest.NewRecorder()
			service.Admin(telemetry.Metrics(), false, c.checks...).ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
			if w.Code != c.status {
				t.Errorf("status %d, want %d", w.Code, c.status)
			}
			if diff := cmp.Diff(c.body, w.Body.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAdminServesProfilesWhenAskedTo(t *testing.T) {
	for asked, status := range map[bool]int{true: 200, false: 404} {
		w := httptest.NewRecorder()
		service.Admin(telemetry.Metrics(), asked).ServeHTTP(w, httptest.NewRequest("GET", "/debug/pprof/goroutine?debug=1", nil))
		if w.Code != status {
			t.Errorf("profiles %v: status %d, want %d", asked, w.Code, status)
		}
	}
}

func TestAdminServesMetrics(t *testing.T) {
	w := httptest.NewRecorder()
	service.Admin(telemetry.Metrics(), false).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(w.Body.String(), "go_goroutines ") {
		t.Errorf("got %.200s", w.Body)
	}
}

// A request in flight is answered although the part was asked to end.
func TestHTTPDrainsRequestsInFlight(t *testing.T) {
	l, err := service.Listen("test.listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	entered, leave := make(chan struct{}), make(chan struct{})
	part := service.HTTP("test", l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		fmt.Fprint(w, "done")
	}), quiet)
	ended := make(chan error, 1)
	go func() { ended <- part.Run(ctx) }()
	answer := make(chan string, 1)
	go func() {
		r, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		answer <- string(body)
	}()

	<-entered
	cancel()
	close(leave)
	if got := <-answer; got != "done" {
		t.Errorf("got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHTTPDropsASlowHeader(t *testing.T) {
	t.Parallel()
	l, err := service.Listen("test.listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = service.HTTP("test", l, http.NotFoundHandler(), quiet).Run(t.Context())
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408") && len(answer) != 0 {
		t.Errorf("got %q, %v", answer, err)
	}
}

func TestListenNamesTheKeyOfAnAddressInUse(t *testing.T) {
	first, err := service.Listen("dashboard.listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = service.Listen("dashboard.listen", first.Addr().String())
	if err == nil || !strings.HasPrefix(err.Error(), "dashboard.listen: ") {
		t.Errorf("got %v", err)
	}
}
