// Responsibilities of one row: mixture MODEL X1 X2 ...
package main

// #cgo LDFLAGS: -lfastvi
// #include <stdlib.h>
// #include <fastvi.h>
import "C"

import (
	"fmt"
	"os"
	"strconv"
	"unsafe"
)

func check(code C.int32_t) {
	if code != C.FASTVI_OK {
		fmt.Fprintln(os.Stderr, "mixture:", C.GoString(C.fastvi_message(code)))
		os.Exit(1)
	}
}

func main() {
	path := C.CString(os.Args[1])
	defer C.free(unsafe.Pointer(path))
	var model *C.fastvi_model
	check(C.fastvi_open(path, &model))
	defer C.fastvi_close(model)
	row := make([]C.double, C.fastvi_n_features(model))
	for i := range row {
		x, err := strconv.ParseFloat(os.Args[2+i], 64)
		if err != nil {
			fmt.Fprintln(os.Stderr, "mixture:", err)
			os.Exit(1)
		}
		row[i] = C.double(x)
	}
	shares := make([]C.double, C.fastvi_n_outputs(model))
	check(C.fastvi_mixture(model, 1, &row[0], &shares[0], nil, nil))
	for _, share := range shares {
		fmt.Println(strconv.FormatFloat(float64(share), 'g', -1, 64))
	}
}
