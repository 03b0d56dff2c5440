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
