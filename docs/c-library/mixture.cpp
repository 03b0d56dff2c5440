// Responsibilities of one row: mixture MODEL X1 X2 ...
#include "fastvi.hpp"

#include <cstdio>

int main(int argc, char **argv) {
    try {
        const fastvi::Model model(argc > 1 ? argv[1] : "");
        std::vector<double> row;
        for (int i = 2; i < argc; i++) row.push_back(std::stod(argv[i]));
        for (double share : model.responsibilities(row)) std::printf("%.17g\n", share);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "mixture: %s\n", error.what());
        return 1;
    }
}
