package receiver_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/service/receiver"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// The memory of bodies is used again: by the next delivery, not by another one
// that is still being read. Every third is longer than the first part.
func TestDeliveriesDoNotSeeEachOthersBodies(t *testing.T) {
	var out recorder
	addr, _ := serve(t, build(t, hooked(t, "github"), &out, receiver.Options{}))
	body := payload(t, "github/push")
	var all sync.WaitGroup
	for sender := range 16 {
		all.Go(func() {
			for i := range 12 {
				name := fmt.Sprintf("s%d-%d", sender, i)
				own := bytes.Replace(body, []byte("refs/heads/master"), []byte("refs/heads/"+name), 1)
				own = append(own, strings.Repeat(" ", i%3*40_000)...)
				if got := send(t, github(t, addr, "github", name, "push", own)); got.Status != http.StatusAccepted {
					t.Errorf("%s: %+v", name, got)
				}
			}
		})
	}
	all.Wait()
	if out.count() != 16*12 {
		t.Errorf("%d events", out.count())
	}
	for _, e := range out.events {
		if ref := strings.TrimPrefix(e.Data.(*eventsv1.GitPush).GetRef(), "refs/heads/"); e.ID != "github/"+ref+"/0" {
			t.Errorf("event %s is of ref %s", e.ID, ref)
		}
	}
}
