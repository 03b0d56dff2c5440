// Models as C++ objects: copied never, moved freely, closed by themselves. Needs C++17.
#ifndef FASTVI_HPP
#define FASTVI_HPP

#include <fastvi.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace fastvi {

// What a function refused.
class Error : public std::runtime_error {
  public:
    explicit Error(std::int32_t code) : std::runtime_error(fastvi_message(code)), code(code) {}
    std::int32_t code;
};

inline void check(std::int32_t code) {
    if (code != FASTVI_OK) throw Error(code);
}

class Model {
  public:
    explicit Model(const std::string &path) {
        fastvi_model *opened = nullptr;
        check(fastvi_open(path.c_str(), &opened));
        handle_.reset(opened);
    }
    std::int32_t kind() const { return fastvi_kind(handle_.get()); }
    std::int64_t n_features() const { return fastvi_n_features(handle_.get()); }
    std::int64_t n_outputs() const { return fastvi_n_outputs(handle_.get()); }

    // Responsibilities (n_rows, n_components) of rows one after another.
    std::vector<double> responsibilities(const std::vector<double> &rows) const {
        const std::int64_t n = rows_of(rows);
        std::vector<double> out(static_cast<std::size_t>(n * n_outputs()));
        check(fastvi_mixture(handle_.get(), n, rows.data(), out.data(), nullptr, nullptr));
        return out;
    }

    // Log probabilities (n_rows, n_classes) of rows one after another.
    std::vector<double> log_probabilities(const std::vector<double> &rows) const {
        const std::int64_t n = rows_of(rows);
        std::vector<double> out(static_cast<std::size_t>(n * n_outputs()));
        check(fastvi_logistic(handle_.get(), n, rows.data(), out.data()));
        return out;
    }

    // Probabilities of states (n_rows, n_states) as rows arrive, of a hidden Markov model, given
    // those after the row before, or none at the beginning of a sequence.
    std::vector<double> filter(const std::vector<double> &rows,
                               const std::vector<double> &before = {}) const {
        const std::int64_t n = rows_of(rows);
        if (!before.empty() && static_cast<std::int64_t>(before.size()) != n_outputs())
            throw std::invalid_argument("probabilities are of another number of states");
        std::vector<double> out(static_cast<std::size_t>(n * n_outputs()));
        const double *from = before.empty() ? nullptr : before.data();
        check(fastvi_filter(handle_.get(), n, rows.data(), from, out.data(), nullptr));
        return out;
    }

    // Means (n_rows, n_targets) of a Gaussian process.
    std::vector<double> means(const std::vector<double> &rows) const {
        const std::int64_t n = rows_of(rows);
        std::vector<double> out(static_cast<std::size_t>(n * n_outputs()));
        check(fastvi_gp(handle_.get(), n, rows.data(), out.data(), nullptr));
        return out;
    }

    // Means (n_rows, n_latent) of the latent variables of an autoencoder.
    std::vector<double> encode(const std::vector<double> &rows) const {
        const std::int64_t n = rows_of(rows);
        std::vector<double> out(static_cast<std::size_t>(n * n_outputs()));
        check(fastvi_encode(handle_.get(), n, rows.data(), out.data(), nullptr));
        return out;
    }

    // Proportions (n_documents, n_topics) of the topics of documents, rows of a sparse matrix: those
    // of document d are entries indptr[d] to indptr[d + 1] - 1.
    std::vector<double> topics(const std::vector<std::int64_t> &indptr,
                               const std::vector<std::int32_t> &words,
                               const std::vector<double> &counts) const {
        if (indptr.empty() || words.size() != counts.size() || indptr.back() < 0 ||
            static_cast<std::size_t>(indptr.back()) > words.size())
            throw std::invalid_argument("documents end after the last word, or a word has no count");
        const auto n = static_cast<std::int64_t>(indptr.size()) - 1;
        const auto size = static_cast<std::size_t>(n * n_outputs());
        std::vector<double> out(size);
        if (fastvi_number_size(handle_.get()) == 8) {
            check(fastvi_topics_f64(handle_.get(), n, indptr.data(), words.data(), counts.data(),
                                    out.data()));
            return out;
        }
        const std::vector<float> single(counts.begin(), counts.end());
        std::vector<float> found(size);
        check(fastvi_topics_f32(handle_.get(), n, indptr.data(), words.data(), single.data(),
                                found.data()));
        out.assign(found.begin(), found.end());
        return out;
    }

  private:
    struct Close {
        void operator()(fastvi_model *model) const { fastvi_close(model); }
    };
    std::int64_t rows_of(const std::vector<double> &rows) const {
        const auto size = static_cast<std::int64_t>(rows.size());
        if (size % n_features() != 0) throw std::invalid_argument("rows are of another width");
        return size / n_features();
    }
    std::unique_ptr<fastvi_model, Close> handle_;
};

} // namespace fastvi

#endif
