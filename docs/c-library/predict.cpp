// What a model of any kind says of rows, or of documents, from standard input: predict MODEL
// A line is a row: its numbers; of topics, words and counts in turn: 3 1 17 2.
#include "fastvi.hpp"

#include <cstdio>
#include <iostream>
#include <sstream>

static std::vector<double> numbers_of(const std::string &line) {
    std::istringstream text(line);
    std::vector<double> found;
    for (std::string word; text >> word;) found.push_back(std::stod(word)); // also nan
    return found;
}

static std::vector<double> topics_of(const fastvi::Model &model, const std::vector<double> &pairs) {
    std::vector<std::int32_t> words;
    std::vector<double> counts;
    for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
        words.push_back(static_cast<std::int32_t>(pairs[i]));
        counts.push_back(pairs[i + 1]);
    }
    return model.topics({0, static_cast<std::int64_t>(words.size())}, words, counts);
}

static std::vector<double> predicted(const fastvi::Model &model, const std::vector<double> &row,
                                     const std::vector<double> &states) {
    switch (model.kind()) {
    case FASTVI_TOPICS: return topics_of(model, row);
    case FASTVI_MIXTURE: return model.responsibilities(row);
    case FASTVI_LOGISTIC: return model.log_probabilities(row);
    case FASTVI_CHAIN: return model.filter(row, states); // given the states after the row before
    case FASTVI_PROCESS: return model.means(row);
    default: return model.encode(row);
    }
}

int main(int argc, char **argv) {
    try {
        const fastvi::Model model(argc > 1 ? argv[1] : "");
        std::vector<double> found;
        for (std::string line; std::getline(std::cin, line);) {
            found = predicted(model, numbers_of(line), found);
            for (double number : found) std::printf("%.17g ", number);
            std::printf("\n");
        }
    } catch (const std::exception &error) {
        std::fprintf(stderr, "predict: %s\n", error.what());
        return 1;
    }
}
