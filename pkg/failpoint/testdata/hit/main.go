// Command hit passes the failpoint "fetch" as often as its argument says and
// prints what each hit returned, and whether the release file was there then.
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/plumb-gitops/plumb/pkg/failpoint"
)

func main() {
	times, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	for range times {
		err := failpoint.Hit(failpoint.Fetch)
		if _, absent := os.Stat(os.Getenv("PLUMB_FAILPOINT_RELEASE")); absent == nil {
			fmt.Println(err, "released")
			continue
		}
		fmt.Println(err)
	}
}
